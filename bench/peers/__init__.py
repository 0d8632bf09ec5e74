"""The peers, one class each; a new one is a class and a row here. README.md says how each is set up, and why."""

from bench.contestant import Contestant
from bench.peers.ncnn import Ncnn
from bench.peers.onnxruntime import OnnxRuntime
from bench.peers.opencv import OpenCV
from bench.peers.openvino import OpenVino, OpenVinoChannelsLast
from bench.peers.scipy import SciPy
from bench.peers.torch import Torch, TorchChannelsLast

PEERS: dict[str, type[Contestant]] = {
    peer.name: peer
    for peer in (Torch, TorchChannelsLast, OnnxRuntime, OpenVino, OpenVinoChannelsLast, Ncnn, OpenCV, SciPy)
}
