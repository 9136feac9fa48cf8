"""Makes the wheel of what the build has made (PEP 517), with Python's own means
alone: pip needs no network and no build tools.

The build is <root>/build, or where $CSSP_BUILD_DIR says.
"""
import base64
import hashlib
import os
import pathlib
import re
import sysconfig
import zipfile

HERE = pathlib.Path(__file__).resolve().parent


def _project():
    """name, version and so on of pyproject.toml's [project] (one line a key)."""
    text = (HERE / "pyproject.toml").read_text().split("[project]")[1]
    fields = dict(re.findall(r'^([\w-]+) = "(.*)"$', text, re.M))
    listed = re.search(r"^dependencies = \[(.*)\]$", text, re.M).group(1)
    fields["dependencies"] = re.findall(r'"([^"]+)"', listed)
    return fields


def _package():
    """The package in the build, whole, or SystemExit that says what to do."""
    build = pathlib.Path(os.environ.get("CSSP_BUILD_DIR", HERE.parents[1] / "build"))
    package = build / "python" / "caffe"
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    for part in (f"_caffe{suffix}", "proto/caffe_pb2.py", "__init__.py"):
        if not (package / part).exists():
            raise SystemExit(
                f"{package / part} is not there: build first (deploy/build.sh {build} pycaffe), "
                "or set CSSP_BUILD_DIR")
    return package


def _tag():
    version = "cp" + sysconfig.get_config_var("py_version_nodot")
    platform = re.sub(r"[-.]", "_", sysconfig.get_platform())
    return f"{version}-{version}-{platform}"


def _metadata(project):
    lines = ["Metadata-Version: 2.1", f"Name: {project['name']}",
             f"Version: {project['version']}", f"Summary: {project['description']}",
             f"Requires-Python: {project['requires-python']}"]
    return "\n".join(lines + [f"Requires-Dist: {d}" for d in project["dependencies"]]) + "\n"


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    project, package = _project(), _package()
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    name = f"{stem}-{_tag()}.whl"
    record = []
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w",
                         zipfile.ZIP_DEFLATED) as wheel:
        def add(path, content):
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
            record.append(f"{path},sha256={digest.rstrip(b'=').decode()},{len(content)}")
            wheel.writestr(path, content)

        for path in sorted(package.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                add(f"caffe/{path.relative_to(package)}", path.read_bytes())
        add(f"{stem}.dist-info/METADATA", _metadata(project).encode())
        add(f"{stem}.dist-info/WHEEL",
            f"Wheel-Version: 1.0\nGenerator: wheel_backend\nRoot-Is-Purelib: false\n"
            f"Tag: {_tag()}\n".encode())
        listing = f"{stem}.dist-info/RECORD"
        wheel.writestr(listing, "\n".join(record + [f"{listing},,", ""]))
    return name


def build_sdist(sdist_directory, config_settings=None):
    raise SystemExit("a source distribution of this folder alone would not build: "
                     "take the whole repository")
