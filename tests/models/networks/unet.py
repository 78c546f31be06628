"""A U-Net in forty lines, as somebody has written it who never heard of Transformers."""

import torch
from torch import nn
from torch.nn import functional as F


class Block(nn.Sequential):
    """Two convolutions."""

    def __init__(self, inputs, outputs):
        super().__init__(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.ReLU(inplace=True),
        )


class UNet(nn.Module):
    """Two levels down and two levels up."""

    def __init__(self, width=8, outputs=5):
        super().__init__()
        self.down1, self.down2 = Block(3, width), Block(width, 2 * width)
        self.bottom = Block(2 * width, 4 * width)
        self.up2, self.up1 = Block(6 * width, 2 * width), Block(3 * width, width)
        self.head = nn.Conv2d(width, outputs, 1)
        # In no file, as tables of positions are.
        self.register_buffer("scale", torch.full((1,), 0.5), persistent=False)

    def forward(self, images):
        first = self.down1(images * self.scale)
        second = self.down2(F.max_pool2d(first, 2))
        bottom = self.bottom(F.max_pool2d(second, 2))
        second = self.up2(torch.cat([F.interpolate(bottom, scale_factor=2), second], dim=1))
        first = self.up1(torch.cat([F.interpolate(second, scale_factor=2), first], dim=1))
        return {"maps": self.head(first)}


def positive(output):
    """Read a depth of the output, in metres."""
    return F.softplus(output["maps"]) + 0.1
