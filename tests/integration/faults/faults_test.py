"""Two injections of the commonest faults into real jobs (20 of each in the slow
tier). Seeds of your own: tests/soak/faults.py."""
import os
import pathlib
import shutil
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import faults  # noqa: E402

SEED = int(os.environ.get("CSSP_FAULT_SEED", "1"))
INJECTIONS = int(os.environ.get("CSSP_FAULT_INJECTIONS", "2"))


class Faults(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.work = pathlib.Path(tempfile.mkdtemp(prefix="cssp-faults-"))
        cls.addClassCleanup(shutil.rmtree, cls.work, ignore_errors=True)
        cls.session = faults.Session(cls.work)
        cls.addClassCleanup(cls.session.close)


def add(name):
    def test(self):
        lacking = self.session.lacking(name)
        if lacking:
            print(f"[  SKIPPED ] {type(self).__name__}.{self._testMethodName}", flush=True)
            self.skipTest(lacking)
        try:
            self.session.run(name, INJECTIONS, SEED)
        except Exception:
            self.session.close()  # the next fault has a cluster of its own
            raise
    setattr(Faults, "test_" + name.replace("-", "_"), test)


for fault in faults.QUICK if INJECTIONS <= 2 else faults.FAULTS:
    add(fault)

if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[1:], verbosity=2)
