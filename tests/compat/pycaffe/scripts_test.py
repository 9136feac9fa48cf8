"""The scripts and Python tools as people call them."""
import csv
import os
import re
import subprocess
import sys

import numpy as np

from support import BUILD, ROOT, SMALL_NET, PycaffeTest, caffe, main

PYTHON, TOOLS = ROOT / "worker" / "python", ROOT / "worker" / "tools"

MEANS_NET = """
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 4 dim: 4 } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 2 weight_filler { value: 0.5 } } }
"""

LOG = """I1126 23:59:50.000000 7 solver.cpp:1] Solving linear
I1126 23:59:50.500000 7 solver.cpp:1] Iteration 0, Testing net (#0)
I1126 23:59:51.000000 7 solver.cpp:1]     Test net output #0: accuracy = 0.1
I1126 23:59:51.000000 7 solver.cpp:1]     Test net output #1: loss = 2.25 (* 1 = 2.25 loss)
I1126 23:59:51.250000 7 solver.cpp:1] Iteration 0 (0 iter/s, 1s/50 iters), loss = 2.3
I1126 23:59:51.250000 7 solver.cpp:1]     Train net output #0: loss = 2.3 (* 1 = 2.3 loss)
I1126 23:59:51.250000 7 sgd_solver.cpp:1] Iteration 0, lr = 0.01
I1127 00:00:01.250000 7 solver.cpp:1] Iteration 50 (5 iter/s, 10s/50 iters), loss = 1e-05
I1127 00:00:01.250000 7 solver.cpp:1]     Train net output #0: loss = nan (* 1 = nan loss)
I1127 00:00:01.250000 7 sgd_solver.cpp:1] Iteration 50, lr = 0.001
I1127 00:00:02.000000 7 solver.cpp:1] Iteration 100, Testing net (#0)
I1127 00:00:02.000000 7 solver.cpp:1]     Test net output #0: accuracy = 0.9
I1127 00:00:02.000000 7 solver.cpp:1]     Test net output #1: loss = 0.5 (* 1 = 0.5 loss)
"""


class Scripts(PycaffeTest):
    def run_script(self, *command, rc=0, env=None):
        environment = {**os.environ, "CSSP_BUILD_DIR": str(BUILD), **(env or {})}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run([sys.executable, *map(str, command)], capture_output=True,
                              text=True, check=False, timeout=240, env=environment, cwd=self.work)
        self.assertEqual(done.returncode, rc, done.stdout + done.stderr)
        if rc:
            self.assertNotIn("Traceback", done.stderr)
        return done.stdout + done.stderr

    def model(self):
        net = self.net(MEANS_NET, caffe.TEST)
        net.save(str(self.work / "m.caffemodel"))
        return self.write(MEANS_NET), self.work / "m.caffemodel"

    def images(self, count=3, side=10):
        from PIL import Image
        folder = self.work / self._testMethodName
        folder.mkdir(exist_ok=True)
        for i in range(count):
            Image.new("RGB", (side + 4, side), (40 * i, 0, 0)).save(folder / f"{i}.png")
        return folder

    def test_classify(self):
        net, weights = self.model()
        out = self.work / "scores.npy"
        self.run_script(PYTHON / "classify.py", self.images(), out, "--model_def", net,
                        "--pretrained_model", weights, "--ext", "png", "--images_dim", "6,6")
        scores = np.load(out)
        np.testing.assert_allclose(scores, [[16 * 0.5 * 40 * i] * 2 for i in range(3)], rtol=1e-4)
        said = self.run_script(PYTHON / "classify.py", self.work / "none.jpg", out, "--model_def",
                               net, "--pretrained_model", weights, rc=1)
        self.assertIn("none.jpg", said)
        self.run_script(PYTHON / "classify.py", "x", "y", rc=2)

    def test_detect(self):
        net, weights = self.model()
        folder, windows = self.images(), self.work / "windows.csv"
        windows.write_text("filename,ymin,xmin,ymax,xmax\n"
                           f"{folder}/1.png,0,0,5,5\n{folder}/2.png,2,2,8,8\n")
        out = self.work / "found.npz"
        self.run_script(PYTHON / "detect.py", windows, out, "--model_def", net,
                        "--pretrained_model", weights, "--context_pad", 0)
        found = np.load(out)
        np.testing.assert_allclose(found["prediction"][:, 0], [320, 640], rtol=1e-4)
        windows.write_text("file,ymin\n")
        self.assertIn("filename", self.run_script(
            PYTHON / "detect.py", windows, out, "--model_def", net, "--pretrained_model", weights,
            rc=1))

    def test_draw_net(self):
        net = self.write(SMALL_NET)
        self.run_script(PYTHON / "draw_net.py", net, self.work / "net.svg", "--rankdir", "TB",
                        "--display_lrm")
        self.assertIn("lr mult", (self.work / "net.svg").read_text())
        self.run_script(PYTHON / "draw_net.py", self.work / "no.prototxt", "x.png", rc=1)

    def test_train(self):
        net = self.write(SMALL_NET, "net.prototxt")
        solver = self.write(f'net: "{net}" base_lr: 0.01 lr_policy: "fixed" max_iter: 20 '
                            f'display: 10 snapshot_prefix: "{self.work}/trained"')
        said = self.run_script(PYTHON / "train.py", "--solver", solver, "--timing",
                               env={"GLOG_minloglevel": "0"})
        self.assertIn("Iteration 10,", said.replace(" (", ", ("))
        self.assertRegex(said, r"conv +Convolution +forward +\d+\.\d+ ms, backward")
        state = self.work / "trained_iter_20.solverstate"
        self.assertTrue(state.exists())
        self.run_script(PYTHON / "train.py", "--solver", solver, "--snapshot", state)
        self.run_script(PYTHON / "train.py", "--solver", solver, "--gpus", 0, 1, rc=2)

    def test_parse_log(self):
        log = self.work / "train.log"
        log.write_text(LOG)
        self.run_script(TOOLS / "parse_log.py", log, self.work, "--verbose")
        with open(self.work / "train.log.train") as file:
            train = list(csv.DictReader(file))
        with open(self.work / "train.log.test") as file:
            test = list(csv.DictReader(file))
        self.assertEqual([(row["NumIters"], float(row["Seconds"]), row["LearningRate"])
                          for row in train], [("0", 1.25, "0.01"), ("50", 11.25, "0.001")])
        self.assertEqual(train[1]["loss"], "nan")
        self.assertEqual([(row["NumIters"], row["accuracy"], row["loss"]) for row in test],
                         [("0", "0.1", "2.25"), ("100", "0.9", "0.5")])
        self.assertEqual(float(test[0]["LearningRate"]), 0.01)

    def test_plot(self):
        log = self.work / "plot.log"
        log.write_text(LOG)
        for chart in range(8):
            picture = self.work / f"chart{chart}.png"
            self.run_script(TOOLS / "plot_training_log.py", chart, picture, log)
            self.assertEqual(picture.read_bytes()[:4], b"\x89PNG")
        log.write_text("nothing\n")
        self.assertIn("holds nothing", self.run_script(
            TOOLS / "plot_training_log.py", 0, self.work / "x.png", log, rc=1))

    def test_our_log_parses(self):
        net = self.write(SMALL_NET, "net.prototxt")
        solver = self.write(f'net: "{net}" base_lr: 0.01 lr_policy: "fixed" max_iter: 20 '
                            f'test_iter: 1 test_interval: 10 display: 5 snapshot_prefix: '
                            f'"{self.work}/log" snapshot_after_train: false')
        log = self.work / "ours.log"
        log.write_text(self.run_script(PYTHON / "train.py", "--solver", solver,
                                       env={"GLOG_minloglevel": "0"}))
        sys.path.insert(0, str(TOOLS))
        import parse_log
        train, test = parse_log.parse_log(str(log))
        self.assertEqual([row["NumIters"] for row in train], [0, 5, 10, 15])
        self.assertEqual([row["NumIters"] for row in test], [0, 10, 20])
        self.assertTrue(all(row["LearningRate"] == 0.01 for row in train))
        self.assertTrue(all(np.isfinite(row["loss"]) for row in train + test))

    def test_summarize(self):
        said = self.run_script(TOOLS / "summarize.py", self.write(SMALL_NET), "--shapes")
        self.assertRegex(said, r"conv +Convolution +data -> conv +5x11x8x9 +99 +1/1 1/0")
        self.assertIn(f"{99 + 13 * 792 + 13:,} parameters", said)
        self.assertIn("num_output: 13", self.run_script(TOOLS / "summarize.py",
                                                        self.write(SMALL_NET)))
        self.run_script(TOOLS / "summarize.py", self.work / "no.prototxt", rc=1)

    def test_resize_and_crop(self):
        from PIL import Image
        folder, out = self.images(5), self.work / "squares"
        said = self.run_script(TOOLS / "resize_and_crop_images.py", "--input_folder", folder,
                               "--output_folder", out, "--output_side_length", 6,
                               "--num_clients", 2)
        self.assertIn("5 of 5", said)
        with Image.open(out / "4.png") as image:
            self.assertEqual(image.size, (6, 6))
            self.assertEqual(image.getpixel((3, 3)), (160, 0, 0))
        (folder / "bad.png").write_bytes(b"no image")
        self.assertIn("bad.png", self.run_script(
            TOOLS / "resize_and_crop_images.py", "--input_folder", folder, "--output_folder", out,
            rc=1))

    def test_download_model_binary(self):
        model = self.work / "model"
        model.mkdir()
        source = self.work / "source.caffemodel"
        source.write_bytes(b"weights")
        readme = ("---\nname: A model\ncaffemodel: a.caffemodel\n"
                  f"caffemodel_url: {source.as_uri()}\n"
                  "sha1: {}\n---\n\nText.\n")
        (model / "readme.md").write_text(readme.format("0" * 40))
        said = self.run_script(TOOLS / "download_model_binary.py", model, rc=1)
        self.assertIn("its sha1 is", said)
        self.assertEqual([path.name for path in model.iterdir()], ["readme.md"])
        import hashlib
        (model / "readme.md").write_text(readme.format(hashlib.sha1(b"weights").hexdigest()))
        self.run_script(TOOLS / "download_model_binary.py", model)
        self.assertEqual((model / "a.caffemodel").read_bytes(), b"weights")
        self.assertIn("there already", self.run_script(TOOLS / "download_model_binary.py", model))

    def test_get_ilsvrc_aux(self):
        import shutil
        script = self.work / "imagenet" / "get_ilsvrc_aux.sh"
        script.parent.mkdir()
        shutil.copy(ROOT / "examples" / "imagenet" / "get_ilsvrc_aux.sh", script)
        source = self.work / "aux"
        source.mkdir()
        for name in ("synset_words.txt", "train.txt"):
            (source / name).write_text("x")

        def run(*arguments):
            return subprocess.run([str(script), *map(str, arguments)], capture_output=True,
                                  text=True, check=False, timeout=60)

        self.assertIn("no val.txt", run(source).stderr)
        (source / "val.txt").write_text("x")
        self.assertEqual(run(source).returncode, 0)
        subprocess.run(["tar", "-czf", self.work / "a.tar.gz", "-C", source, "synset_words.txt",
                        "train.txt", "val.txt"], check=True)
        shutil.rmtree(script.parent / "aux")
        self.assertEqual(run(self.work / "a.tar.gz").returncode, 0)
        self.assertEqual(len(list((script.parent / "aux").iterdir())), 3)
        self.assertEqual(run("/nowhere").returncode, 2)

    def test_python_layers_example(self):
        done = subprocess.run([str(ROOT / "examples" / "pycaffe" / "run.sh"), str(self.work)],
                              capture_output=True, text=True, check=False, timeout=240,
                              env={**os.environ, "BUILD": str(BUILD)})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"slope (2\.0|1\.9)\d -(1\.0|0\.9)\d, offset 0\.(5|4)\d")
        right = re.findall(r"after \d+: ([0-9.]+) of the labels right", done.stdout)
        self.assertLess(float(right[0]), 0.7)
        self.assertGreater(float(right[-1]), 0.95)
        for picture in ("linreg.png", "multilabel.png"):
            self.assertTrue((self.work / picture).exists())


if __name__ == "__main__":
    main()
