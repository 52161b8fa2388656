"""Images as people keep them: files, folders, images larger than what is attended at once, corpora on clusters."""
