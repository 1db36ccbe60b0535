"""The networks of `digits` and `char-lm` in PyTorch, as its users write them, with their optimizers."""

import torch
from torch import nn
from torch.nn import functional as F


class Digits(nn.Module):
    def __init__(self, channels, hidden, dropout, **_):
        super().__init__()
        second = 2 * channels
        self.conv1 = nn.Conv2d(1, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, second, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(second)
        self.pool = nn.AdaptiveAvgPool2d((4, 4))
        self.hidden = nn.Linear(second * 16, hidden)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, 10)

    def forward(self, images):
        x = F.relu(self.norm1(self.conv1(images)))
        x = F.relu(self.norm2(self.conv2(x)))
        x = self.pool(x).flatten(1)
        return self.output(self.dropout(F.relu(self.hidden(x))))


class Layer(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.inner = nn.Linear(width, 4 * width)
        self.outer = nn.Linear(4 * width, width)

    def forward(self, x):
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.projection(y.transpose(1, 2).reshape(batch, length, width))
        return x + self.outer(F.gelu(self.inner(self.norm2(x))))


class CharLm(nn.Module):
    def __init__(self, vocabulary, context, width, layers, heads, **_):
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.layers = nn.ModuleList(Layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                added = name.endswith(("projection.weight", "outer.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * layers) ** 0.5 if added else 0.02)

    def forward(self, texts):
        x = self.tokens(texts) + self.positions.weight[: texts.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return F.linear(self.norm(x), self.tokens.weight)


def network_of(network):
    return Digits(**network) if network["kind"] == "digits" else CharLm(**network)


def optimizer_of(network, parameters):
    rate = network["learning_rate"]
    if network["kind"] == "digits":
        return torch.optim.Adam(parameters, lr=rate, eps=1e-5)
    return torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.99), weight_decay=network["weight_decay"])


def loss_of(model, batch):
    inputs, expected = batch
    return F.cross_entropy(model(inputs).flatten(0, -2), expected.flatten())


def compute_on(task):
    """The device, with f32 in all products, and without the shorter format that NVIDIA's cards have for them."""
    if not task.on_gpu:
        torch.set_num_threads(task.threads)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.manual_seed(42)
    return torch.device("cuda" if task.on_gpu else "cpu")
