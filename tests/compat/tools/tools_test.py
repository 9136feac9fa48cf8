"""The data tools and example scripts as people call them: 2015's paths and
command lines, one line and exit code 2 for a mistake, nothing half made."""
import os
import pathlib
import shutil
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "testing"))
from programs import BIN, BUILD, CAFFE, ROOT, TOOLS, ProgramTest  # noqa: E402

import cv2  # noqa: E402
import numpy  # noqa: E402

RECORD = 1 + 3072


def write_batches(folder, records, only=None):
    folder.mkdir(parents=True, exist_ok=True)
    for name in [f"data_batch_{i}.bin" for i in range(1, 6)] + ["test_batch.bin"]:
        if only is None or name in only:
            with open(folder / name, "wb") as batch:
                batch.truncate(records * RECORD)  # black images of class 0


class Tools(ProgramTest):
    def refused(self, *command, says, env=None):
        _, err = self.run_program(*command, rc=2, env=env)
        lines = [line for line in err.splitlines() if line and line[0] != "I"]
        self.assertEqual(len(lines), 1, err)
        self.assertIn(says, lines[0])

    def test_converters_stand_where_2015_looked(self):
        for tool in ("examples/cifar10/convert_cifar_data.bin",
                     "examples/mnist/convert_mnist_data.bin"):
            self.assertTrue(os.access(BUILD / tool, os.X_OK), tool)

    def test_cifar_line_of_2015(self):
        data, out = self.work / "batches", self.work / "bases"
        write_batches(data, 3)
        out.mkdir()
        self.run_program(BUILD / "examples/cifar10/convert_cifar_data.bin",
                         data, out, "leveldb")
        _, err = self.run_program(TOOLS / "compute_image_mean", "-backend=leveldb",
                                  out / "cifar10_train_leveldb", out / "mean.binaryproto")
        self.assertIn("mean_value channel [2]: 0", err)
        self.assertTrue((out / "mean.binaryproto").exists())
        self.assertEqual(sorted(p.name for p in out.iterdir()),
                         ["cifar10_test_leveldb", "cifar10_train_leveldb", "mean.binaryproto"])

    def test_mistakes_get_one_line(self):
        cifar, mean = TOOLS / "convert_cifar_data", TOOLS / "compute_image_mean"
        self.refused(cifar, says="usage: convert_cifar_data")
        self.refused(cifar, "/nowhere", self.work, "lmdb", says="/nowhere/data_batch_1.bin")
        self.refused(cifar, self.work, self.work, "sqlite", says="sqlite")
        self.refused(cifar, "--fast", self.work, self.work, "lmdb", says="--fast")
        cut, out = self.work / "cut", self.work / "cut_out"
        write_batches(cut, 2)
        os.truncate(cut / "test_batch.bin", RECORD + 100)
        out.mkdir()
        self.refused(cifar, cut, out, "lmdb", says="test_batch.bin")
        self.assertEqual(list(out.iterdir()), [])
        self.refused(mean, self.work / "no_base", says="no_base")
        self.refused(mean, "--backend=lmdb", self.work / "no_base", "a", "b", says="usage")
        self.refused(TOOLS / "convert_mnist_data", "a", "b", "c", says="get_mnist.sh")

    def test_time_in_both_phases(self):
        net = ROOT / "examples/mnist/lenet.prototxt"
        for phase in ("TRAIN", "TEST"):
            _, err = self.run_program(CAFFE, "time", f"-model={net}", f"-phase={phase}",
                                      "-iterations=2")
            for name in ("conv1", "prob"):
                for way in ("forward", "backward"):
                    self.assertRegex(err, rf"\b{name}\s+{way}: [0-9.e-]+ ms")
            self.assertIn("Average Forward-Backward: ", err)

    def test_imageset_as_of_2015(self):
        folder = self.work / "images"
        (folder / "some images").mkdir(parents=True)
        rng = numpy.random.default_rng(1)
        lines = []
        for i in range(7):
            name = f"some images/{i}.{'jpg' if i % 2 else 'png'}"
            cv2.imwrite(str(folder / name), rng.integers(0, 255, (20, 30, 3), numpy.uint8))
            lines.append(f"{name} {i}\n")
        lists = self.work / "list.txt"
        lists.write_text("".join(lines) + "some images/none.jpg 9\n")
        tool = TOOLS / "convert_imageset"
        for base, flags in [("raw", ["--resize_height=16", "--resize_width=16", "-shuffle"]),
                            ("gray", ["-gray=true", "--backend=leveldb"]),
                            ("packed", ["--encoded", "--encode_type=jpg", "--threads=2"])]:
            _, err = self.run_program(tool, *flags, f"{folder}/", lists, self.work / base)
            self.assertIn("Processed 7 files.", err)
            self.assertIn("list.txt:8", err)
            self.assertIn("none.jpg", err)
        # The mean of compressed records, too.
        _, err = self.run_program(TOOLS / "compute_image_mean", self.work / "packed")
        self.assertIn("Number of channels: 3", err)
        self.assertIn("mean_value channel [2]: 1", err)  # of 255: one hundred and some

    def test_imageset_mistakes(self):
        tool = TOOLS / "convert_imageset"
        self.refused(tool, says="usage: convert_imageset")
        self.refused(tool, "/", "/nowhere/list", self.work / "b", says="/nowhere/list")
        lists = self.work / "bad.txt"
        lists.write_text("a.jpg 1\nb.jpg\n")
        self.refused(tool, "/", lists, self.work / "b", says="bad.txt:2")
        self.refused(tool, "--encode_type=gif", "/", lists, self.work / "b", says="gif")
        self.refused(tool, "--resize_width=-3", "/", lists, self.work / "b",
                     says="--resize_width")
        self.assertFalse((self.work / "b").exists())

    def test_upgrades(self):
        old = self.work / "old_solver.prototxt"
        old.write_text('net: "x"\nsolver_type: NESTEROV\n')
        self.run_program(TOOLS / "upgrade_solver_proto_text", old, self.work / "new_solver")
        self.assertIn('type: "Nesterov"', (self.work / "new_solver").read_text())
        for tool in ("upgrade_net_proto_text", "upgrade_net_proto_binary",
                     "upgrade_solver_proto_text"):
            self.refused(TOOLS / tool, says=f"usage: {tool}")
            self.refused(TOOLS / tool, "/nowhere/x", self.work / "y", says="/nowhere/x")

    def test_completion(self):
        def complete(program, *words):
            script = (f"source {ROOT}/deploy/completion/caffe-ssp.bash; "
                      f"COMP_WORDS=({' '.join([str(program), *words])}); "
                      f"COMP_CWORD={len(words)}; [[ '{words[-1]}' == . ]] && "
                      f"COMP_WORDS[COMP_CWORD]=; _caffe_ssp {program}; "
                      "echo ${COMPREPLY[@]}")
            out, _ = self.run_program("bash", "-c", script)
            return out.split()
        self.assertEqual(complete(CAFFE, "."), ["train", "test", "device_query", "time"])
        self.assertEqual(complete(CAFFE, "tra"), ["train"])
        self.assertEqual(complete(CAFFE, "train", "--solv"), ["--solver"])
        self.assertEqual(complete(CAFFE, "train", "-weig"), ["-weights"])
        self.assertIn("submit", complete(BIN / "psctl", "."))
        self.assertEqual(complete(BIN / "psctl", "dr"), ["drain-worker"])
        self.assertIn("--workers", complete(BIN / "psctl", "submit", "--"))
        self.assertEqual(complete(TOOLS / "convert_imageset", "--resize"),
                         ["--resize_height", "--resize_width"])

    def script_folder(self, example):
        """A copy of an example's scripts, so that they write nothing here."""
        folder = self.work / self._testMethodName / "examples" / example
        folder.mkdir(parents=True)
        for script in (ROOT / "examples" / example).glob("*.sh"):
            shutil.copy(script, folder)
        return folder

    def test_cifar_scripts_take_a_local_folder(self):
        folder, data = self.script_folder("cifar10"), self.work / "whole"
        build = {"BUILD": str(BUILD)}
        write_batches(data, 10000)
        self.run_program(folder / "get_cifar10.sh", data)
        self.run_program(folder / "create_cifar10.sh", env=build)
        self.run_program(folder / "create_cifar10.sh", env=build)  # once more: replaced
        for made in ("cifar10_train_lmdb", "cifar10_test_lmdb", "mean.binaryproto"):
            self.assertTrue((folder / made).exists(), made)
        self.refused(folder / "create_cifar10.sh", "sqlite", says="sqlite", env=build)
        self.refused(folder / "create_cifar10.sh", says="not built", env={"BUILD": "/nowhere"})

    def test_cifar_get_refuses_what_is_not_whole(self):
        folder, data = self.script_folder("cifar10"), self.work / "parts"
        write_batches(data, 10000, only=["data_batch_1.bin"])
        self.refused(folder / "get_cifar10.sh", data, says="data_batch_2.bin")
        write_batches(data, 9999)
        self.refused(folder / "get_cifar10.sh", data, says="bytes instead of")
        self.assertEqual(list((folder / "data").iterdir()), [])

    def test_mnist_scripts_take_a_local_folder(self):
        folder, data = self.script_folder("mnist"), self.work / "idx"
        data.mkdir()
        for part, count in (("train", 5), ("t10k", 3)):
            size = count.to_bytes(4, "big")
            side = (28).to_bytes(4, "big")
            (data / f"{part}-images-idx3-ubyte").write_bytes(
                (2051).to_bytes(4, "big") + size + side + side + bytes(784 * count))
            (data / f"{part}-labels-idx1-ubyte").write_bytes(
                (2049).to_bytes(4, "big") + size + bytes(count))
        self.run_program(folder / "get_mnist.sh", data)
        self.run_program(folder / "create_mnist.sh", "leveldb", env={"BUILD": str(BUILD)})
        self.assertTrue((folder / "mnist_test_leveldb" / "CURRENT").exists())
        self.refused(folder / "get_mnist.sh", self.work / "empty_handed", says="neither")

    def test_mpi_script_checks_its_arguments(self):
        script = self.script_folder("cifar10") / "mpi_train_quick.sh"
        self.refused(script, "many", says="'many'")
        self.refused(script, "3", "/no/hosts", says="/no/hosts")

    def test_scripts_pass_shellcheck(self):
        if shutil.which("shellcheck") is None:
            self.skip("shellcheck is not installed")
        scripts = sorted((ROOT / "examples").glob("*/*.sh"))
        self.assertGreaterEqual(len(scripts), 15)
        self.run_program("shellcheck", "--severity=warning", *scripts)
        self.run_program("shellcheck", "--shell=bash",
                         ROOT / "deploy/completion/caffe-ssp.bash")


if __name__ == "__main__":
    unittest.main(verbosity=2)
