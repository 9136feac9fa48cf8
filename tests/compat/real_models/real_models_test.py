"""Models, nets and states that real Caffe wrote in 2014, through our programs.

CSSP_DEVICE=cuda scores on a GPU, here or (elsewhere.py) on another machine."""
import pathlib
import re
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
import elsewhere  # noqa: E402
from testing import programs  # noqa: E402
from testing.programs import CAFFE, TOOLS  # noqa: E402

# What Caffe scored then, to the digits of its log and of an independent reader.
QUICK = {4000: (0.6854, 0.93771), 5000: (0.7491, 0.74817)}
LENET = (0.9905, 0.02918)


class RealModels(programs.ProgramTest):

    def prepare_cifar(self):
        """examples/cifar10/ as the 2014 prototxts expect it, under self.work."""
        data = self.need_data("cifar10")
        folder = self.work / "examples/cifar10"
        if not folder.exists():
            folder.mkdir(parents=True)
            self.run_program(TOOLS / "convert_cifar_data", data / "cifar10", folder, "leveldb")
            self.run_program(TOOLS / "compute_image_mean", "-backend=leveldb",
                             folder / "cifar10_train_leveldb", folder / "mean.binaryproto")
            for name in (programs.data_dir() / "caffemodels/cifar10_quick").iterdir():
                shutil.copy(name, folder)
        return folder

    def scores(self, command, needed):
        """What `caffe test` finds; it reads `needed` under self.work."""
        case = self._testMethodName[len("test_"):]
        if elsewhere.READ:
            stderr = elsewhere.read_log(case)
        elif elsewhere.WRITE:
            elsewhere.write_command(case, self.work, needed, command)
            self.skip(f"written to {elsewhere.WRITE}")
        else:
            gpu = ["--gpu=0"] if elsewhere.DEVICE == "cuda" else []
            _, stderr = self.run_program(CAFFE, *command, *gpu)
        on_cpu = "Use CPU" in stderr
        self.assertEqual(on_cpu, elsewhere.DEVICE == "cpu", stderr[:2000])
        found = dict(re.findall(r"^.*\] (accuracy|loss) = ([0-9.]+)", stderr, re.M))
        return float(found["accuracy"]), float(found["loss"])

    def check_quick(self, iterations):
        folder = self.prepare_cifar().relative_to(self.work)
        net = folder / "cifar10_quick_train_test.prototxt"
        weights = folder / f"cifar10_quick_iter_{iterations}.caffemodel"
        accuracy, loss = self.scores(
            ["test", f"-model={net}", f"-weights={weights}", "-iterations=100"],
            [net, weights, folder / "mean.binaryproto", folder / "cifar10_test_leveldb"])
        print(f"cifar10_quick {iterations}: accuracy {accuracy} loss {loss}")
        self.assertAlmostEqual(accuracy, QUICK[iterations][0], delta=0.00005)
        self.assertAlmostEqual(loss, QUICK[iterations][1], delta=0.00005)

    def test_quick_4000_scores(self):
        self.check_quick(4000)

    def test_quick_5000_scores(self):
        self.check_quick(5000)

    def test_lenet_scores(self):
        data = self.need_data("mnist")
        folder = self.work / "examples/mnist"
        folder.mkdir(parents=True)
        for part, images in (("train", "train"), ("test", "t10k")):
            self.run_program(TOOLS / "convert_mnist_data",
                             data / f"mnist/{images}-images-idx3-ubyte",
                             data / f"mnist/{images}-labels-idx1-ubyte",
                             folder / f"mnist_{part}_lmdb", "-backend=lmdb")
        models = programs.data_dir() / "caffemodels/lenet"
        shutil.copy(models / "lenet_iter_10000.caffemodel", self.work)
        # The net stands inside a solver, in V1 form, chosen by stage.
        text = (models / "lenet_consolidated_solver.prototxt").read_text()
        start = text.index("net_param {") + len("net_param {")
        (self.work / "lenet_net.prototxt").write_text(text[start:text.rindex("}")])
        accuracy, loss = self.scores(
            ["test", "-model=lenet_net.prototxt", "-stage=test-on-test-set",
             "-weights=lenet_iter_10000.caffemodel", "-iterations=100"],
            ["lenet_net.prototxt", "lenet_iter_10000.caffemodel",
             "examples/mnist/mnist_test_lmdb"])
        print(f"lenet: accuracy {accuracy} loss {loss}")
        self.assertAlmostEqual(accuracy, LENET[0], delta=0.00005)
        self.assertAlmostEqual(loss, LENET[1], delta=0.00005)

    def test_training_resumes_from_2014(self):
        if elsewhere.WRITE or elsewhere.READ:
            self.skip("needs the whole training set")
        folder = self.prepare_cifar()
        solver = folder / "cifar10_quick_solver_lr1.prototxt"
        solver.write_text(solver.read_text().replace("solver_mode: GPU", "solver_mode: CPU"))
        _, log = self.run_program(
            CAFFE, "train", f"-solver={solver}",
            f"-snapshot={folder}/cifar10_quick_iter_4000.solverstate",
            *(["--gpu=0"] if elsewhere.DEVICE == "cuda" else []))
        tests = re.findall(r"Test net output #0: accuracy = ([0-9.]+)", log)
        print(f"resumed at 4000: accuracy {tests[0]}, at 5000: {tests[-1]}")
        self.assertAlmostEqual(float(tests[0]), QUICK[4000][0], delta=0.00005)
        self.assertAlmostEqual(float(tests[-1]), QUICK[5000][0], delta=0.004)
        self.assertTrue((folder / "cifar10_quick_iter_5000.caffemodel").exists())
        self.assertTrue((folder / "cifar10_quick_iter_5000.solverstate").exists())


if __name__ == "__main__":
    programs.main()
