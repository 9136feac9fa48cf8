"""Solvers: training from Python."""
import gc

import numpy as np

from support import SMALL_NET, PycaffeTest, caffe, main

SOLVER = """net: "{net}"
test_iter: 3 test_interval: 10 base_lr: 0.01 momentum: {momentum} weight_decay: 0.0005
lr_policy: "inv" gamma: 0.0001 power: 0.75 display: 100 max_iter: 100 snapshot_after_train: false
snapshot_prefix: "{work}/model" random_seed: 17
"""

KINDS = {"SGD": 0.9, "Nesterov": 0.9, "AdaGrad": 0, "RMSProp": 0, "AdaDelta": 0.95, "Adam": 0.9}


class Solvers(PycaffeTest):
    def file(self, more="", momentum=0.9):
        net = self.write(SMALL_NET, "net.prototxt")
        return self.write(SOLVER.format(net=net, work=self.work, momentum=momentum) + more)

    def test_solve(self):
        solver = caffe.SGDSolver(self.file())
        self.assertEqual(solver.iter, 0)
        solver.solve()
        self.assertEqual(solver.iter, 100)
        self.assertLess(solver.net.blobs["loss"].data, 1)

    def test_every_kind(self):
        for kind, momentum in KINDS.items():
            text = f'type: "{kind}" delta: 1e-6'
            solver = caffe.get_solver(self.file(text, momentum))
            self.assertEqual(type(solver).__name__, f"{kind}Solver")
            before = solver.net.params["ip"][0].data.copy()
            solver.step(3)
            self.assertEqual(solver.iter, 3)
            self.assertTrue((before != solver.net.params["ip"][0].data).any(), kind)
            by_class = getattr(caffe, f"{kind}Solver")(self.file("delta: 1e-6", momentum))
            self.assertEqual(by_class.type, kind)
            by_class.step(3)
            np.testing.assert_array_equal(solver.net.params["ip"][0].data,
                                          by_class.net.params["ip"][0].data)

    def test_nets_outlive_the_solver(self):
        solver = caffe.SGDSolver(self.file())
        nets = [solver.net] + list(solver.test_nets)
        self.assertEqual(len(nets), 2)
        del solver
        gc.collect()
        for net in nets:
            total = sum(blob.data.sum() for blobs in net.params.values() for blob in blobs)
            self.assertTrue(np.isfinite(total))
            net.forward()

    def test_test_nets_share_weights(self):
        solver = caffe.SGDSolver(self.file())
        for layer in ("conv", "ip"):
            self.assertTrue(np.shares_memory(solver.net.params[layer][0].data,
                                             solver.test_nets[0].params[layer][0].data))
        solver.step(2)
        np.testing.assert_array_equal(solver.net.params["ip"][0].data,
                                      solver.test_nets[0].params["ip"][0].data)

    def test_views_stay_live_while_training(self):
        solver = caffe.SGDSolver(self.file())
        weights, gradient = solver.net.params["ip"][0].data, solver.net.params["ip"][0].diff
        seen, gradients = weights.copy(), []
        for _ in range(3):
            solver.step(1)
            self.assertTrue((weights != seen).any())
            seen = weights.copy()
            gradients.append(gradient.copy())
        self.assertTrue(all(g.any() for g in gradients))
        self.assertTrue((gradients[0] != gradients[1]).any())

    def test_snapshot_and_restore(self):
        solver = caffe.SGDSolver(self.file())
        solver.step(5)
        solver.snapshot()
        state = self.work / "model_iter_5.solverstate"
        self.assertTrue(state.exists())
        solver.step(5)
        other = caffe.SGDSolver(self.file())
        other.restore(str(state))
        self.assertEqual(other.iter, 5)
        other.step(5)
        np.testing.assert_array_equal(solver.net.params["conv"][0].data,
                                      other.net.params["conv"][0].data)
        third = caffe.SGDSolver(self.file())
        third.solve(str(state))
        self.assertEqual(third.iter, 100)

    def test_apply_update(self):
        solver = caffe.SGDSolver(self.file())
        net = solver.net
        net.clear_param_diffs()
        net.params["ip"][1].diff[...] = 1
        before = net.params["ip"][1].data.copy()
        decay = 0.0005 * before
        solver.apply_update()
        np.testing.assert_allclose(net.params["ip"][1].data, before - 0.01 * (1 + decay),
                                   rtol=1e-6)
        self.assertEqual(solver.iter, 1)

    def test_callbacks(self):
        solver = caffe.SGDSolver(self.file())
        seen = []
        solver.add_callback(lambda: seen.append(("start", solver.iter)),
                            lambda: seen.append(("ready", solver.iter)))
        solver.step(2)
        self.assertEqual(seen, [("start", 0), ("ready", 0), ("start", 1), ("ready", 1)])

    def test_callbacks_may_look_and_change(self):
        solver = caffe.SGDSolver(self.file("clip_gradients: -1"))
        scores = []

        def freeze():
            solver.net.clear_param_diffs()

        solver.add_callback(lambda: scores.append(float(solver.test_nets[0].forward()["loss"])),
                            freeze)
        before = solver.net.params["ip"][1].data.copy()
        solver.step(3)
        self.assertEqual(len(scores), 3)
        np.testing.assert_allclose(before, solver.net.params["ip"][1].data, rtol=1e-3)

    def test_exceptions_of_callbacks(self):
        solver = caffe.SGDSolver(self.file())

        def fail():
            if solver.iter == 2:
                raise OSError("enough")

        solver.add_callback(fail)
        with self.assertRaises(OSError):
            solver.step(10)
        self.assertEqual(solver.iter, 2)

    def test_param_and_rate(self):
        solver = caffe.SGDSolver(self.file())
        self.assertEqual((solver.param.max_iter, solver.param.display), (100, 100))
        self.assertAlmostEqual(solver.param.base_lr, 0.01)
        self.assertAlmostEqual(solver.lr, 0.01)
        solver.step(5)
        self.assertAlmostEqual(solver.lr, 0.01 * (1 + 0.0001 * 5) ** -0.75, places=7)
        before = solver.net.params["conv"][0].data.copy()
        solver.param.base_lr = 0
        solver.net.clear_param_diffs()
        self.assertEqual(solver.lr, 0)
        solver.param.base_lr = 0.5
        self.assertAlmostEqual(solver.param.base_lr, 0.5)
        np.testing.assert_array_equal(before, solver.net.params["conv"][0].data)
        self.assertIsInstance(solver.param.layer_wise_reduce, bool)

    def test_share_weights(self):
        solver, other = caffe.SGDSolver(self.file()), caffe.SGDSolver(self.file())
        other.share_weights(solver.net)
        other.step(2)
        np.testing.assert_array_equal(solver.net.params["ip"][0].data,
                                      other.net.params["ip"][0].data)
        self.assertTrue(np.shares_memory(solver.net.params["ip"][0].data,
                                         other.test_nets[0].params["ip"][0].data))

    def test_from_a_message(self):
        from caffe.proto import caffe_pb2
        message = caffe_pb2.SolverParameter(base_lr=0.1, lr_policy="fixed", type="Adam",
                                            momentum=0.9, snapshot_prefix=str(self.work / "m"))
        message.net_param.ParseFromString(self.net(SMALL_NET).to_proto().SerializeToString())
        solver = caffe.get_solver(message)
        self.assertIsInstance(solver, caffe.AdamSolver)
        solver.step(1)

    def test_places(self):
        self.assertEqual((caffe.solver_count(), caffe.solver_rank()), (1, 0))
        self.assertFalse(caffe.has_nccl())


if __name__ == "__main__":
    main()
