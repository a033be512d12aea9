"""A PyTorch module on our kernels learns scikit-learn's digits, and its weights go on in a network of ours: 20 epochs, a few seconds."""

import numpy as np
import torch

from fastcnn import layers, weights
from fastcnn.adapters import torch as F
from fastcnn.data import digits


class Net(torch.nn.Sequential):
    """Convolution, pooling and a dense layer, whose modules hold the weights while the functions are ours."""

    def __init__(self) -> None:
        super().__init__(torch.nn.Conv2d(1, 16, 3), torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(144, 10))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits of images (N, 1, 8, 8)."""
        x = F.max_pool2d(torch.relu(F.conv2d(x, self[0].weight, self[0].bias)), 2)
        return F.linear(x.flatten(1), self[4].weight, self[4].bias)


def main() -> None:
    """Train, hand the weights over, and print both accuracies on the test images."""
    torch.manual_seed(0)
    data = digits()
    train, test = (images[:, None].astype(np.float32) / 255 for images in (data.train_images, data.test_images))
    net, labels = Net(), torch.from_numpy(data.train_labels.astype(np.int64))
    optimizer = torch.optim.Adam(net.parameters(), 0.005)
    for _ in range(20):
        for batch in torch.randperm(len(train)).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(torch.from_numpy(train)[batch]), labels[batch]).backward()
            optimizer.step()
    with torch.no_grad():
        theirs = (net(torch.from_numpy(test)).argmax(1).numpy() == data.test_labels).mean()

    ours = layers.Sequential(layers.Conv2d(1, 16, 3), layers.ReLU(), layers.MaxPool2d(2), layers.Flatten(), layers.Linear(144, 10)).eval()
    weights.load_into(ours, net.state_dict())
    print(f"accuracy in PyTorch {theirs:.4f}, with its weights in ours {(ours(test).argmax(1) == data.test_labels).mean():.4f}")


if __name__ == "__main__":
    main()
