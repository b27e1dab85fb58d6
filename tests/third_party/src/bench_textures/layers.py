"""What needs torch: imported when a model is built, so that listing what there is stays instant."""

import torch
from torch import nn


class TextureNet(nn.Module):
    """Images (N, 3, S, S) to the mean and the spread of each filter's answers, (N, 4 · filters)."""

    def __init__(self, filters):
        super().__init__()
        self.first = self._bank(3, filters, size=5)
        self.second = self._bank(filters, 2 * filters, size=3)

    @staticmethod
    def _bank(inputs, outputs, size):
        return nn.Sequential(
            nn.Conv2d(inputs, outputs, size, stride=2, padding=size // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )

    def forward(self, images):
        answers = self.second(self.first(images)).flatten(2)
        mean = answers.mean(2)
        spread = ((answers - mean.unsqueeze(2)).square().mean(2) + 1e-6).sqrt()
        return torch.cat([mean, spread], dim=1)


class ChannelAttention(nn.Module):
    """Each channel is weighed by the means of three channels that are side by side; at first all by nearly one."""

    def __init__(self):
        super().__init__()
        self.weigh = nn.Conv1d(1, 1, 3, padding=1)
        nn.init.constant_(self.weigh.bias, 4.0)

    def forward(self, maps):
        means = maps.mean((2, 3)).unsqueeze(1)
        return maps * self.weigh(means).sigmoid().squeeze(1)[:, :, None, None]


def batch_norms(backbone):
    return [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]


def attend(norm):
    """Behind the batch norm, as a part of it: its own parameters keep their names."""
    norm.attention = ChannelAttention()
    norm.register_forward_hook(lambda module, images, maps: module.attention(maps))
