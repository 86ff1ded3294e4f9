"""Classifies seeded images with a small convolutional network over 28 x 28 grey pixels, in whole numbers: the network and the images of
examples/nn/network.h, which come from a seed."""

SIDE, FIRST, SECOND, CLASSES = 28, 8, 16, 10


class Random:
    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        return (self.state >> 33) % n


class Network:
    def __init__(self, seed):
        r = Random(seed)
        self.first, self.second, self.dense = ([r.below(33) - 16 for _ in range(n)] for n in (FIRST * 9, SECOND * FIRST * 9, CLASSES * SECOND * 25))
        self.first_bias, self.second_bias, self.dense_bias = ([r.below(257) - 128 for _ in range(n)] for n in (FIRST, SECOND, CLASSES))

    def run(self, image):
        """The class with the highest score, and all scores."""
        out = layer(image, 1, SIDE, self.first, self.first_bias, 4)
        out = layer(out, FIRST, 13, self.second, self.second_bias, 6)
        n = len(out)
        scores = [bias + sum(w * v for w, v in zip(self.dense[c * n : (c + 1) * n], out)) for c, bias in enumerate(self.dense_bias)]
        return scores.index(max(scores)), scores


def layer(pixels, channels, side, weights, bias, shift):
    """A 3 x 3 convolution, its positive part scaled down to 8 bits, and the maximum of every 2 x 2 of it."""
    pooled = (side - 2) // 2
    near = [(c * side + k // 3) * side + k % 3 for c in range(channels) for k in range(9)]
    out = []
    for o, b in enumerate(bias):
        mine = list(zip(weights[o * len(near) : (o + 1) * len(near)], near))
        for y in range(pooled):
            for x in range(pooled):
                corners = ((2 * y + part // 2) * side + 2 * x + part % 2 for part in range(4))
                most = max(0, max(b + sum(w * pixels[at + offset] for w, offset in mine) for at in corners))
                out.append(min(most >> shift, 127))
    return out


def draw(seed):
    r = Random(seed ^ 0x9E3779B97F4A7C15)
    image = [0] * (SIDE * SIDE)
    for _ in range(4):
        x = 4 + r.below(20)
        y = 4 + r.below(20)
        for _ in range(14):
            image[y * SIDE + x] = 127
            x = min(max(x + r.below(3) - 1, 0), SIDE - 1)
            y = min(max(y + r.below(3) - 1, 0), SIDE - 1)
    return image


def handler(event, context):
    seed = event.get("seed", 1)
    network = Network(seed)
    results = []
    for i in range(event.get("images", 1)):
        best, scores = network.run(draw(seed + i))
        results.append({"class": best, "scores": scores})
    return results
