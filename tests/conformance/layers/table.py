"""All cases by layer type, and which types there must be."""
import detection
import loss
import neuron
import norm
import recurrent
import shape
import sources
import vision

BVLC = """AbsVal Accuracy ArgMax BNLL BatchNorm BatchReindex Bias Clip Concat ContrastiveLoss
Convolution Crop Data Deconvolution Dropout DummyData ELU Eltwise Embed EuclideanLoss Exp Filter
Flatten HDF5Data HDF5Output HingeLoss Im2col ImageData InfogainLoss InnerProduct Input LRN LSTM
LSTMUnit Log MVN MemoryData MultinomialLogisticLoss PReLU Parameter Pooling Power Python RNN ReLU
Reduction Reshape SPP Scale Sigmoid SigmoidCrossEntropyLoss Silence Slice Softmax SoftmaxWithLoss
Split Swish TanH Threshold Tile WindowData""".split()

BEYOND_BVLC = """Permute Normalize PriorBox DetectionOutput MultiBoxLoss SmoothL1Loss ReLU6
ShuffleChannel Upsample Interp Axpy DepthwiseConvolution""".split()

# Data layers need files or a caller: the test that has them.
COVERED_ELSEWHERE = {
    "Data": "tests/unit/worker/layers/data_layer_test.cc",
    "HDF5Data": "tests/unit/worker/layers/hdf5_data_layer_test.cc",
    "HDF5Output": "tests/unit/worker/layers/hdf5_output_layer_test.cc",
    "ImageData": "tests/unit/worker/layers/image_data_layer_test.cc",
    "MemoryData": "tests/unit/worker/layers/memory_data_layer_test.cc",
    "Python": "tests/compat/pycaffe/python_layer_test.py",  # registered by worker/python
    "WindowData": "tests/unit/worker/layers/window_data_layer_test.cc",
}

CASES = {}
for module in (neuron, vision, norm, shape, loss, recurrent, detection, sources):
    overlap = set(CASES) & set(module.CASES)
    assert not overlap, overlap
    CASES.update(module.CASES)
CASES["ConvolutionDepthwise"] = CASES["DepthwiseConvolution"]  # both names are in use
