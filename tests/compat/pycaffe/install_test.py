"""pip install ./worker/python, without a network and with nothing but a venv."""
import os
import subprocess
import sys

from support import BUILD, ROOT, PycaffeTest, main


class Install(PycaffeTest):
    def run_quietly(self, *command, **options):
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                              check=False, timeout=240, **options)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_pip_install(self):
        venv = self.work / "venv"
        self.run_quietly(sys.executable, "-m", "venv", "--system-site-packages", "--without-pip",
                         venv)
        python = venv / "bin" / "python"
        pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
        # No way out: an index that does not exist, no proxies.
        environment = {name: value for name, value in os.environ.items()
                       if not name.lower().endswith("_proxy") and name != "PYTHONPATH"}
        environment.update(CSSP_BUILD_DIR=str(BUILD), PIP_INDEX_URL="http://127.0.0.1:9/",
                           PIP_NO_CACHE_DIR="1")
        self.run_quietly(*pip, "install", ROOT / "worker" / "python", env=environment)
        where = self.run_quietly(
            python, "-c", "import caffe; print(caffe.__file__); "
            "print('Python' in caffe.layer_type_list())", cwd=self.work, env=environment)
        self.assertIn(str(venv), where)
        self.assertIn("True", where)
        self.run_quietly(*pip, "uninstall", "-y", "caffe-ssp", env=environment)

    def test_without_a_build(self):
        sys.path.insert(0, str(ROOT / "worker" / "python"))
        import wheel_backend
        os.environ["CSSP_BUILD_DIR"] = str(self.work)
        try:
            with self.assertRaises(SystemExit) as caught:
                wheel_backend.build_wheel(str(self.work))
            self.assertIn("build first", str(caught.exception))
        finally:
            os.environ["CSSP_BUILD_DIR"] = str(BUILD)
            sys.path.pop(0)


if __name__ == "__main__":
    main()
