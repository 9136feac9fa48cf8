"""Mistakes are exceptions that say where; Ctrl-C ends training; nothing aborts."""
import signal
import subprocess
import sys
import threading
import time

from support import HERE, LINEAR_NET, SMALL_NET, PycaffeTest, caffe, main

SOLVER = """net: "{net}" base_lr: 0.001 lr_policy: "fixed" max_iter: 1000000000
snapshot_prefix: "{work}/stopped" test_iter: {tests} test_interval: 1000000
"""

CHILD = """
import sys
sys.path.insert(0, {here!r})
from support import caffe
solver = caffe.get_solver({solver!r})
{how}
"""


class Places(PycaffeTest):
    def caught(self, call):
        with self.assertRaises(caffe.Error) as caught:
            call()
        self.assertIsInstance(caught.exception, RuntimeError)
        return caught.exception

    def test_absent_files(self):
        error = self.caught(lambda: caffe.Net("no_such.prototxt", caffe.TEST))
        self.assertIn("no_such.prototxt", str(error))
        self.assertEqual(error.code, "NOT_FOUND")
        self.caught(lambda: caffe.SGDSolver("no_such_solver.prototxt"))
        self.caught(lambda: self.net(LINEAR_NET, weights="no_such.caffemodel"))
        net = self.net(LINEAR_NET)
        self.caught(lambda: net.copy_from("no_such.caffemodel"))
        self.caught(lambda: net.load_hdf5("no_such.h5"))
        self.caught(lambda: net.save("/no/such/folder/x.caffemodel"))

    def test_line_of_a_misspelt_field(self):
        error = self.caught(lambda: self.net('name: "x"\n\nlayer { nome: "y" }\n'))
        self.assertEqual(error.line, 3)
        self.assertTrue(error.file.endswith(f"{self._testMethodName}.prototxt"))

    def test_layer_of_a_wrong_parameter(self):
        error = self.caught(lambda: self.net(SMALL_NET.replace("kernel_size: 2", "")))
        self.assertEqual(error.layer, "conv")
        self.assertTrue(error.file.endswith(f"{self._testMethodName}.prototxt"))
        error = self.caught(lambda: self.net(SMALL_NET.replace("InnerProduct", "OuterProduct")))
        self.assertEqual(error.layer, "ip")
        error = self.caught(lambda: self.net(SMALL_NET.replace('bottom: "conv"', 'bottom: "cone"')))
        self.assertEqual(error.layer, "ip")
        self.assertIn("cone", str(error))

    def test_weights_that_do_not_fit(self):
        path = str(self.work / "small.caffemodel")
        self.net(SMALL_NET).save(path)
        other = self.net(SMALL_NET.replace("num_output: 13", "num_output: 4"))
        before = other.params["conv"][0].data.copy()
        error = self.caught(lambda: other.copy_from(path))
        self.assertEqual(error.layer, "ip")
        self.assertTrue((other.params["conv"][0].data == before).all())

    def test_backward_before_forward(self):
        net = self.net(SMALL_NET)
        self.assertEqual(self.caught(net.backward).code, "FAILED_PRECONDITION")

    def test_phase(self):
        with self.assertRaises(ValueError):
            self.net(LINEAR_NET, 7)

    def test_solver_without_rate(self):
        net = self.write(SMALL_NET, "net.prototxt")
        error = self.caught(lambda: caffe.SGDSolver(self.write(
            f'net: "{net}" lr_policy: "stepped" base_lr: 1 snapshot_prefix: "{self.work}/x"')))
        self.assertIn("stepped", str(error))

    def test_a_gpu_that_is_not_there(self):
        try:
            caffe.set_mode_gpu()
        except caffe.Error as error:
            self.assertTrue(str(error))
        finally:
            caffe.set_mode_cpu()
        self.net(LINEAR_NET).forward()

    def test_device_pointers(self):
        blob = self.net(LINEAR_NET).blobs["data"]
        for name in ("_gpu_data_ptr", "_gpu_diff_ptr"):
            error = self.caught(lambda name=name: getattr(blob, name))
            self.assertEqual(error.code, "UNIMPLEMENTED")
            self.assertIn("host memory", str(error))

    def test_nccl(self):
        with self.assertRaises(RuntimeError):
            caffe.NCCL(None, "")

    def test_timer(self):
        timer = caffe.Timer()
        timer.start()
        time.sleep(0.02)
        timer.stop()
        self.assertGreaterEqual(timer.ms, 20)
        self.assertEqual(timer.ms, timer.ms)


class Threads(PycaffeTest):
    def test_python_runs_while_a_net_does(self):
        solver = caffe.SGDSolver(self.write(SOLVER.format(
            net=self.write(SMALL_NET, "net.prototxt"), work=self.work, tests=1)))
        ticks, done = [], threading.Event()

        def count():
            while not done.is_set():
                ticks.append(None)
                time.sleep(0.001)

        thread = threading.Thread(target=count)
        thread.start()
        solver.step(300)
        done.set()
        thread.join()
        self.assertGreater(len(ticks), 3)

    def test_two_threads_on_one_net(self):
        net = self.net(SMALL_NET)
        results = []

        def run():
            for _ in range(200):
                try:
                    net.forward()
                    results.append("ran")
                except RuntimeError:
                    results.append("refused")

        threads = [threading.Thread(target=run) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(len(results), 400)
        self.assertIn("ran", results)


class CtrlC(PycaffeTest):
    def interrupted(self, how, tests=1):
        """Runs `how` in a process of its own, sends Ctrl-C once it trains, and
        gives (seconds until it ended, what it wrote)."""
        net = self.write(SMALL_NET, "net.prototxt")
        solver = self.write(SOLVER.format(net=net, work=self.work, tests=tests))
        ready = self.work / "ready"
        ready.unlink(missing_ok=True)
        code = CHILD.format(here=str(HERE), solver=solver, how=how.format(ready=str(ready)))
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT, text=True)
        try:
            end = time.monotonic() + 60
            while not ready.exists() and time.monotonic() < end and child.poll() is None:
                time.sleep(0.02)
            self.assertTrue(ready.exists())
            start = time.monotonic()
            child.send_signal(signal.SIGINT)
            output, _ = child.communicate(timeout=30)
        finally:
            child.kill()
            child.wait()
        return time.monotonic() - start, output

    def test_solve(self):
        seconds, output = self.interrupted("""
def touch():
    if solver.iter == 3:
        open({ready!r}, "w").close()
solver.add_callback(touch)
try:
    solver.solve()
except KeyboardInterrupt:
    print("interrupted at", solver.iter > 3)
    solver.step(1)
    print("goes on")
""")
        self.assertIn("interrupted at True\ngoes on", output)
        self.assertLess(seconds, 10)
        self.assertEqual(list(self.work.glob("stopped_iter*")), [])

    def test_a_test(self):
        _, output = self.interrupted("""
count = 0
def touch(layer):
    global count
    count += 1
    if count == 50:
        open({ready!r}, "w").close()
solver.test_nets[0].after_forward(touch)
try:
    solver.step(1)
except KeyboardInterrupt:
    print("interrupted at", solver.iter)
""", tests=100000000)
        self.assertIn("interrupted at 0", output)


if __name__ == "__main__":
    main()
