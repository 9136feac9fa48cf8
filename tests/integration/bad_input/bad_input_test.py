"""Bad input gets one clear line and exit code 2, and leaves nothing half done."""
import pathlib
import socket
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]))
from testing import programs  # noqa: E402
from testing.programs import BIN, CAFFE  # noqa: E402

NET = """name: "small"
layer { name: "data" type: "DummyData" top: "data" top: "label"
  dummy_data_param {
    shape { dim: 4 dim: 3 dim: 8 dim: 8 } shape { dim: 4 }
    data_filler { type: "gaussian" } data_filler { type: "constant" } } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip"
  inner_product_param { num_output: 5 weight_filler { type: "xavier" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
"""
SOLVER = """net: "net.prototxt"
base_lr: 0.01
lr_policy: "fixed"
max_iter: 4
snapshot_prefix: "small"
solver_mode: CPU
"""


class BadInput(programs.ProgramTest):

    def setUp(self):
        self.write("net.prototxt", NET)
        self.write("solver.prototxt", SOLVER)

    def write(self, name, text):
        (self.work / name).write_text(text)

    def refused(self, *command, says):
        """Exit code 2, and one line of the program's own with all of `says`, last.
        (Log lines, and the net that Caffe prints into its log, come before.)"""
        _, err = self.run_program(*command, rc=2, timeout=30)
        name = pathlib.Path(command[0]).name
        lines = [line for line in err.splitlines() if line.startswith(f"{name}: ")]
        self.assertEqual(len(lines), 1, err)
        self.assertEqual(lines[0], err.splitlines()[-1], err)
        for text in says:
            self.assertIn(text, lines[0])

    def train_refused(self, *says):
        return self.refused(CAFFE, "train", "-solver=solver.prototxt", says=says)

    def test_the_good_form_trains(self):
        self.run_program(CAFFE, "train", "-solver=solver.prototxt")
        self.assertTrue((self.work / "small_iter_4.caffemodel").exists())
        (self.work / "small_iter_4.caffemodel").rename(self.work / "good.caffemodel")

    def test_unknown_layer_type(self):
        self.write("net.prototxt", NET.replace('"InnerProduct"', '"InerProduct"'))
        self.train_refused("'ip'", "InerProduct", "InnerProduct")

    def test_misspelt_field(self):
        self.write("net.prototxt", NET.replace("num_output", "num_outputs"))
        self.train_refused("net.prototxt:7:", "num_outputs")

    def test_misspelt_solver_field(self):
        self.write("solver.prototxt", SOLVER.replace("base_lr", "base_rate"))
        self.train_refused("solver.prototxt:2:", "base_rate")

    def test_syntax_error(self):
        self.write("net.prototxt", NET + "layer {")
        self.train_refused("net.prototxt:")

    def test_missing_net(self):
        self.write("solver.prototxt", SOLVER.replace("net.prototxt", "absent.prototxt"))
        self.train_refused("absent.prototxt")

    def test_missing_data_base(self):
        self.write("net.prototxt", NET.replace("DummyData", "Data").replace(
            NET[NET.index("  dummy_data_param"):NET.index("layer { name: \"ip\"")],
            '  data_param { source: "absent_lmdb" batch_size: 4 backend: LMDB } }\n'))
        self.train_refused("'data'", "absent_lmdb")

    def test_shape_mismatch_names_the_layer(self):
        self.write("net.prototxt", NET + """
layer { name: "sum" type: "Eltwise" bottom: "data" bottom: "ip" top: "sum" }""")
        self.train_refused("'sum'")

    def test_unknown_bottom(self):
        self.write("net.prototxt", NET.replace('bottom: "ip"', 'bottom: "pi"'))
        self.train_refused("'loss'", "pi")

    def test_unknown_policy(self):
        self.write("solver.prototxt", SOLVER.replace('"fixed"', '"fast"'))
        self.train_refused("fast")

    def test_unknown_solver_type(self):
        self.write("solver.prototxt", SOLVER + 'type: "Sgdd"')
        self.train_refused("Sgdd", "SGD")

    def test_snapshot_prefix_nowhere(self):
        self.write("solver.prototxt", SOLVER.replace('"small"', '"/nonexistent/dir/small"'))
        self.train_refused("/nonexistent/dir")

    def test_truncated_caffemodel(self):
        self.run_program(CAFFE, "train", "-solver=solver.prototxt")
        whole = (self.work / "small_iter_4.caffemodel").read_bytes()
        (self.work / "cut.caffemodel").write_bytes(whole[:len(whole) * 2 // 3])
        self.refused(CAFFE, "train", "-solver=solver.prototxt", "-weights=cut.caffemodel",
                     says=["cut.caffemodel"])
        self.refused(CAFFE, "test", "-model=net.prototxt", "-weights=cut.caffemodel",
                     says=["cut.caffemodel"])

    def test_caffemodel_as_snapshot(self):
        self.run_program(CAFFE, "train", "-solver=solver.prototxt")
        self.refused(CAFFE, "train", "-solver=solver.prototxt",
                     "-snapshot=small_iter_4.caffemodel", says=["solverstate"])

    def test_weights_of_another_shape(self):
        self.run_program(CAFFE, "train", "-solver=solver.prototxt")
        self.write("net.prototxt", NET.replace("num_output: 5", "num_output: 6"))
        self.refused(CAFFE, "train", "-solver=solver.prototxt",
                     "-weights=small_iter_4.caffemodel", says=["'ip'"])

    def test_gpu_asked_for_where_there_is_none(self):
        self.refused(CAFFE, "train", "-solver=solver.prototxt", "-gpu=0", says=["GPU"])

    def test_gpu_mode_in_the_solver_is_one_warning(self):
        self.write("solver.prototxt", SOLVER.replace("solver_mode: CPU", "solver_mode: GPU"))
        _, err = self.run_program(CAFFE, "train", "-solver=solver.prototxt")
        warnings = [line for line in err.splitlines() if line.startswith("W")]
        self.assertEqual(len(warnings), 1, err)
        self.assertIn("CPU", warnings[0])

    def test_unreachable_coordinator(self):
        self.refused(BIN / "psctl", "--coordinator=127.0.0.1:1", "list", says=["127.0.0.1:1"])
        self.write("token", "0" * 64)
        self.refused(BIN / "caffe-worker", "--coordinator=127.0.0.1:1", "--job=none", "--rank=0",
                     "--token_file=token", says=["127.0.0.1:1"])

    def test_unknown_job(self):
        _, coordinator = self.start_servers(1, tag="unknown")
        for verb in ("describe", "cancel", "checkpoint", "watch"):
            self.refused(BIN / "psctl", f"--coordinator={coordinator}", verb, "nosuch-7",
                         says=["nosuch-7"])
        self.write("token", "0" * 64)
        self.refused(BIN / "caffe-worker", f"--coordinator={coordinator}", "--job=nosuch-7",
                     "--rank=0", "--token_file=token", says=["nosuch-7"])

    def test_psctl_refuses_a_bad_job_before_it_submits(self):
        _, coordinator = self.start_servers(1, tag="submit")
        submit = [BIN / "psctl", f"--coordinator={coordinator}", "submit", "--launch=none"]
        self.write("net.prototxt", NET.replace("num_output", "num_outputs"))
        self.refused(*submit, "--solver=solver.prototxt", "--workers=2",
                     says=["net.prototxt:7:"])
        self.write("net.prototxt", NET)
        self.refused(*submit, "--solver=solver.prototxt", "--workers=0", says=["workers"])
        self.refused(*submit, "--solver=solver.prototxt", "--workers=2", "--staleness=-1",
                     says=["staleness"])
        self.refused(*submit, "--solver=solver.prototxt", "--workers=2",
                     "--resume=nosuch-7/12", says=["nosuch-7/12"])
        out, _ = self.run_program(BIN / "psctl", f"--coordinator={coordinator}", "list",
                                  "-o", "json")
        self.assertNotIn("job_id", out)

    def test_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            for which in ("control_port", "data_port", "metrics_port"):
                self.refused(BIN / "ps-server", f"--set=state_dir={self.work}/port",
                             f"--set={which}={port}", says=[str(port)])

    def test_server_configuration(self):
        self.write("server.conf", 'id: "a"\nbind_hots: "127.0.0.1"\n')
        self.refused(BIN / "ps-server", "--config=server.conf", says=["server.conf:2:", "bind_hots"])
        self.refused(BIN / "ps-server", "--config=absent.conf", says=["absent.conf"])
        self.refused(BIN / "ps-server", "--set=lease.lease_sm=3", says=["lease_sm"])


if __name__ == "__main__":
    programs.main()
