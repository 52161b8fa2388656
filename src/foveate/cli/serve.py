"""`foveate serve`: a page on one's own machine to try a RUN on one's own images."""

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from foveate.cli.options import Common, note, whole
from foveate.errors import BadInput
from foveate.storage.files import reason


def serve(
    run: str,
    /,
    *,
    host: str = "127.0.0.1",
    port: Annotated[int, Parameter(converter=whole, validator=Number(gte=0, lte=65535))] = 8000,
    common: Common = Common(),  # noqa: B008 it is frozen
) -> None:
    """Serve a page on this machine: drag an image onto it, and see the gazes, their posteriors and crops.

    One of them can be looked for in other images, as with `attend --like`.

    Args:
        run: A RUN folder.
        host: Address to listen on. The default can be reached from this machine only; with another one, everyone who
            reaches it can use the page, without a password.
        port: Port to listen on; 0 is any that is free.
    """
    from foveate.attention.attend import Attention
    from foveate.serve.answers import answering
    from foveate.serve.server import Server

    attention = Attention.load(run, str(common.torch_device()))
    facts = {"category": attention.category, "run": run.rstrip("/").rsplit("/", 1)[-1]}
    try:
        server = Server(answering(attention), facts, host, port)
    except OSError as error:
        raise BadInput(f"can't listen on {host}, port {port}: {reason(error)}") from error
    with server:
        note(f"open {server.url} in a browser; Ctrl-C stops")
        server.serve_forever()
