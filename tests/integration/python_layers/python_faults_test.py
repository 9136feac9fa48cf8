"""Workers with layers in Python are killed, stopped, joined and let go as any others."""
import os
import pathlib
import re
import signal

from python_jobs import PythonJob, net, programs
from testing.programs import BIN, CAFFE


class PythonFaults(PythonJob):

    def test_who_is_killed_is_started_again(self):
        self.coordinator = self.start_servers(1, "killed")[1]
        folder = self.folder("killed", net(8, "Slow", f"{self.work}/killed/calls"), clocks=100000)
        psctl = self.start_submit(folder, "--dead_workers=wait", "--restarts=3")
        pid = self.await_progress(folder, 1)
        os.kill(pid, signal.SIGKILL)
        again = self.await_progress(folder, 1, after=pid)
        self.assertIn(b"python", pathlib.Path(f"/proc/{again}/cmdline").read_bytes())
        self.stop(psctl, folder)

    def test_one_joins_and_is_let_go(self):
        self.coordinator = self.start_servers(1, "join")[1]
        folder = self.folder("join", net(8, "Slow", f"{self.work}/join/calls"), clocks=100000)
        psctl = self.start_submit(folder, "--max_workers=3", f"--job_file={folder}/job")
        self.await_progress(folder, 1)
        self.run_program(BIN / "psctl", f"--coordinator={self.coordinator}", "scale",
                         (folder / "job").read_text().strip(), 3)
        os.kill(self.await_progress(folder, 2), signal.SIGTERM)
        self.assertTrue(programs.wait_for(lambda: re.search(
            r"worker 2 leaves before clock \d+", (folder / "log").read_text()), 20))
        calls = self.progress(folder, 1)[1]
        self.assertTrue(programs.wait_for(
            lambda: self.progress(folder, 1)[1] > calls + 20, 20))
        self.stop(psctl, folder)

    def stop(self, psctl, folder):
        psctl.send_signal(signal.SIGINT)
        self.assertTrue(programs.wait_for(lambda: psctl.poll() is not None, 30))
        self.assertIn("cancelled", (folder / "psctl.log").read_text())

    def test_sigint_to_rank_0(self):
        folder = self.folder("stop", net(8, "Slow", f"{self.work}/stop/calls"), clocks=100000)
        mpirun = self.start("mpirun", "-n", 3, "--oversubscribe", "--bind-to", "none",
                            CAFFE, "train", "--solver=solver.prototxt",
                            cwd=folder, log=folder / "log")
        self.await_progress(folder, 1)
        host = re.search(r"(\d+) \S+\] Embedded ps-server", (folder / "log").read_text())
        os.kill(int(host.group(1)), signal.SIGINT)
        self.assertEqual(mpirun.wait(30), 0)
        log = (folder / "log").read_text()
        self.assertIn("Optimization stopped early.", log)
        self.assertTrue(list(folder.glob("out_iter_*.solverstate")), log[-3000:])
        self.assertNotIn("Traceback", log)

    def test_helper_processes_can_be_ended(self):
        self.coordinator = self.start_servers(1, "forks")[1]
        self.submit(self.folder("forks", net(8, "Forks"), clocks=3))


if __name__ == "__main__":
    programs.main()
