"""Our side of a comparison on another machine: cases are written here, run_cases.sh
answers them there, and the answers are judged here."""
import hashlib
import os
import pathlib
import shutil

DEVICE = os.environ.get("CSSP_DEVICE", "cpu")
WRITE = pathlib.Path(os.environ["CSSP_CASES_TO"]) if "CSSP_CASES_TO" in os.environ else None
READ = pathlib.Path(os.environ["CSSP_ANSWERS_FROM"]) if "CSSP_ANSWERS_FROM" in os.environ else None
FILES = ("net.prototxt", "net.caffemodel", "in.f32")


def write_net(name, *paths):
    """The net, its weights and its inputs, as a case."""
    folder = WRITE / name
    folder.mkdir(parents=True, exist_ok=True)
    for path, file in zip(paths, FILES):
        shutil.copyfile(path, folder / file)


def read_net(name, *paths):
    """The file of the outputs; the case must have been these very files."""
    digests = dict(reversed(line.split()) for line in
                   (READ / name / "case.sha256").read_text().splitlines())
    for path, file in zip(paths, FILES):
        if digests[file] != hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest():
            raise RuntimeError(f"{READ / name} answers another {file} than this")
    return READ / name / "out.f32"


def write_command(name, root, files, arguments):
    """A command of `caffe` among `files` (or folders) of `root`, as a case."""
    for file in files:
        target = WRITE / name / file
        target.parent.mkdir(parents=True, exist_ok=True)
        if (root / file).is_dir():
            shutil.copytree(root / file, target, dirs_exist_ok=True)
        else:
            shutil.copyfile(root / file, target)
    (WRITE / name / "arguments").write_text(" ".join(arguments) + "\n")


def read_log(name):
    return (READ / name / "log").read_text()
