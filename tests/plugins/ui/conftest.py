"""What tests of interfaces share lies beside them, and what is another program's below `peers`."""

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "peers")]
