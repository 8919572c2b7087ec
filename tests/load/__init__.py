"""Load for tests: clients that never hide a failure, and what they saw.

`Load` starts a mix of them; `Tally` is what each of them, and all together, report.
"""

from tests.load.load import Load, Mix, Summary
from tests.load.tally import Failure, Seen, Tally

__all__ = ["Failure", "Load", "Mix", "Seen", "Summary", "Tally"]
