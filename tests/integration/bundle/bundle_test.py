"""deploy/bundle.sh: an archive unpacked elsewhere runs by itself, and the system's
mpirun, started from it, keeps the system's libraries."""
import pathlib
import re
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.programs import BUILD, ROOT  # noqa: E402

NET = """name: "tiny"
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param { shape { dim: 8 dim: 5 } shape { dim: 8 }
    data_filler { type: "gaussian" } data_filler { type: "constant" value: 1 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 3 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 20
snapshot_prefix: "tiny" random_seed: 1
"""
PROGRAMS = ("caffe", "caffe-worker", "ps-server", "psctl")
MOST = 50 << 20  # bytes


class Bundle(programs.ProgramTest):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        archive = cls.work / "caffe-ssp.tar.gz"
        subprocess.run([ROOT / "deploy/bundle.sh", BUILD, archive], check=True)
        cls.size = archive.stat().st_size
        (cls.work / "elsewhere").mkdir()
        shutil.unpack_archive(archive, cls.work / "elsewhere")
        cls.bundle = cls.work / "elsewhere/caffe-ssp"
        (cls.work / "net.prototxt").write_text(NET)
        (cls.work / "solver.prototxt").write_text(SOLVER)

    def program(self, name):
        return self.bundle / "bin" / name

    def test_is_small(self):
        print(f"{self.size / 2**20:.1f} MiB ", end="")
        self.assertLess(self.size, MOST)

    def test_libraries_are_its_own(self):
        """Whatever the bundle has is loaded from it, with no environment's help."""
        packed = {path.name for path in (self.bundle / "lib").glob("*.so*")}
        self.assertGreater(len(packed), 20)
        files = [*(self.bundle / "libexec").iterdir(), *(self.bundle / "lib").glob("*.so*"),
                 *(self.bundle / "lib/ucx").iterdir()]
        for file in files:
            out, _ = self.run_program("ldd", file, env={"LD_LIBRARY_PATH": ""})
            for soname, path in re.findall(r"^\t(\S+) => (/\S+)", out, re.M):
                if soname in packed:
                    self.assertEqual(pathlib.Path(path).resolve().parent, self.bundle / "lib",
                                     f"{file} loads {soname}")

    def test_programs_start(self):
        for name in PROGRAMS:
            self.run_program(self.program(name), "--version")

    def test_environment_names_no_library_of_it(self):
        """A program started from the bundle sees none of the bundle's libraries."""
        probe = self.bundle / "libexec/probe"
        probe.write_text('#!/bin/sh\necho "$LD_LIBRARY_PATH"\n')
        probe.chmod(0o755)
        (self.bundle / "bin/probe").symlink_to("../lib/start")
        self.addCleanup(probe.unlink)
        self.addCleanup((self.bundle / "bin/probe").unlink)
        out, _ = self.run_program(self.bundle / "bin/probe")
        self.assertNotIn(str(self.bundle), out)

    def test_submit_with_mpirun(self):
        ready = self.work / "ps.ready"
        log = self.work / "ps.log"
        server = self.start(self.program("ps-server"), "--set=id=ps-0",
                            f"--set=state_dir={self.work}/ps", f"--set=ready_file={ready}",
                            log=log)
        programs.wait_for(lambda: ready.exists() or server.poll() is not None, 20)
        self.assertTrue(ready.exists(), log.read_text())
        coordinator = programs.addresses(ready)["control"]
        out, err = self.run_program(
            self.program("psctl"), "submit", "--solver=solver.prototxt", "--workers=2",
            "--launch=mpirun", env={"CSSP_COORDINATOR": coordinator})
        self.assertRegex(out + err, r"job \S+ succeeded \(clock 20 of 20")
        self.assertTrue((self.work / "tiny_iter_20.caffemodel").exists())

    def test_caffe_under_mpirun(self):
        _, err = self.run_program("mpirun", "--oversubscribe", "--bind-to", "none", "-n", "3",
                                  self.program("caffe"), "train", "--solver=solver.prototxt")
        self.assertIn("Optimization Done", err)


if __name__ == "__main__":
    programs.main()
