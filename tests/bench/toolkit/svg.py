"""Plots as SVG, written by hand: lines over two linear or logarithmic axes, and groups of bars. No dependency; the same
data give the same file."""
import math

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 56, 84
COLOURS = ["#0b6fb8", "#d1495b", "#6aaed6", "#e39aa5", "#3b7d4f", "#8c6bb1"]


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def show(value):
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:g}"


def linear_ticks(low, high, about=6):
    """Round values from `low` to `high`."""
    span = (high - low) or 1
    step = 10 ** math.floor(math.log10(span / about))
    for factor in (1, 2, 5, 10):
        if span / (step * factor) <= about:
            step *= factor
            break
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, int(math.floor(high / step + 1e-9)) + 1)]


def log_ticks(low, high):
    return [10.0 ** e for e in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]


class Axis:
    def __init__(self, values, begin, end, log=False, zero=False):
        values = [v for v in values if not log or v > 0] or [0.1 if log else 0, 1]
        self.begin, self.end, self.log = begin, end, log
        if log:
            self.ticks = log_ticks(min(values), max(values))
            self.low, self.high = self.ticks[0], self.ticks[-1]
            if self.low == self.high:
                self.high *= 10
        else:
            self.low, self.high = (0 if zero else min(values)), (max(values) or 1)
            if self.low == self.high:
                self.high += 1
            self.ticks = linear_ticks(self.low, self.high)

    def at(self, value):
        if self.log:
            value = max(value, self.low)
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.begin + share * (self.end - self.begin)


class Picture:
    def __init__(self, title, x_label, y_label):
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
            f'viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
            f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
            f'<text x="{LEFT}" y="20" font-size="15" fill="#111111">{escape(title)}</text>']
        if x_label:
            self.text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 36, x_label)
        middle = (TOP + HEIGHT - BOTTOM) / 2
        self.parts.append(f'<text x="18" y="{middle:.1f}" text-anchor="middle" fill="#333333" '
                          f'transform="rotate(-90 18 {middle:.1f})">{escape(y_label)}</text>')

    def text(self, x, y, text, anchor="middle"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#333333">{escape(text)}</text>')

    def line(self, x1, y1, x2, y2, colour="#dddddd", dash=None):
        extra = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{extra}/>')

    def y_axis(self, axis):
        for tick in axis.ticks:
            y = axis.at(tick)
            self.line(LEFT, y, WIDTH - RIGHT, y)
            self.text(LEFT - 8, y + 4, show(tick), "end")

    def legend(self, names):
        x = LEFT
        for i, name in enumerate(names):
            y = HEIGHT - 14
            self.parts.append(f'<rect x="{x:.1f}" y="{y - 10}" width="12" height="12" fill="{COLOURS[i % len(COLOURS)]}"/>')
            self.text(x + 17, y, name, "start")
            x += 32 + 7 * len(name)

    def write(self, path):
        with open(path, "w") as f:
            f.write("\n".join(self.parts + ["</svg>"]) + "\n")


def lines(path, title, x_label, y_label, series, log_x=False, log_y=False):
    """`series`: name → [(x, y), …]."""
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    x_axis = Axis(xs, LEFT, WIDTH - RIGHT, log_x, zero=True)
    y_axis = Axis(ys, HEIGHT - BOTTOM, TOP, log_y, zero=True)
    picture = Picture(title, x_label, y_label)
    picture.y_axis(y_axis)
    for tick in x_axis.ticks:
        x = x_axis.at(tick)
        picture.line(x, TOP, x, HEIGHT - BOTTOM, "#eeeeee")
        picture.text(x, HEIGHT - BOTTOM + 18, show(tick))
    for i, points in enumerate(series.values()):
        path_text = " ".join(f"{x_axis.at(x):.1f},{y_axis.at(y):.1f}" for x, y in points)
        picture.parts.append(f'<polyline points="{path_text}" fill="none" stroke="{COLOURS[i % len(COLOURS)]}" stroke-width="2"/>')
    picture.legend(series)
    picture.write(path)


def bars(path, title, y_label, groups, names, log_y=False):
    """`groups`: label → one value for each of `names`."""
    axis = Axis([v for values in groups.values() for v in values], HEIGHT - BOTTOM, TOP, log_y, zero=True)
    picture = Picture(title, "", y_label)
    picture.y_axis(axis)
    room = (WIDTH - LEFT - RIGHT) / len(groups)
    width = room * 0.8 / len(names)
    for g, (label, values) in enumerate(groups.items()):
        begin = LEFT + g * room + room * 0.1
        for i, value in enumerate(values):
            top = axis.at(value)
            picture.parts.append(f'<rect x="{begin + i * width:.1f}" y="{top:.1f}" width="{width * 0.9:.1f}" '
                                 f'height="{HEIGHT - BOTTOM - top:.1f}" fill="{COLOURS[i % len(COLOURS)]}"/>')
            picture.text(begin + (i + 0.45) * width, top - 4, f"{value:.3g}")
        picture.text(begin + room * 0.4, HEIGHT - BOTTOM + 18, label)
    picture.legend(names)
    picture.write(path)
