"""How far the angle of an object is known, and the symmetries that say so. Imports nothing heavy: commands do."""

from typing import Literal

FULL, HALF_TURN, QUARTER_TURN, ANY = 360, 180, 90, 0
"""How far an angle is known: in full, up to half turns, up to quarter turns, not at all (degrees; 0 for not at all)."""

Symmetry = Literal["2", "4", "any", "mirror", "none"]
PERIODS = {"2": HALF_TURN, "4": QUARTER_TURN, "any": ANY}
"""How far angles are known of objects with a symmetry under turns."""
