#include "core/observe/flame_graph.hpp"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <unordered_map>

#include "core/base/printable.hpp"
#include "core/observe/symbol_names.hpp"

namespace fiberd::observe {

namespace {

constexpr double kWidth = 1200;
constexpr double kMargin = 10;
constexpr double kSpan = kWidth - 2 * kMargin;
constexpr double kRow = 17;
constexpr double kHead = 64;
constexpr double kCharacter = 7;  // of a monospaced font of 12 pixels
constexpr double kNarrowest = 0.1 / kSpan;
constexpr std::size_t kMostName = 512;

constexpr std::string_view kStyle = R"(
svg { background: #fff; font: 12px monospace; }
text { fill: #000; pointer-events: none; }
.head { fill: #222; }
.title { font-size: 16px; }
g.f { cursor: pointer; outline: none; }
g.f:hover rect, g.f:focus rect { stroke: #000; }
g.above rect { opacity: 0.45; }
g.found rect { fill: #c4f !important; }
g.out { display: none; }
input { width: 190px; font: 12px monospace; }
@media (prefers-color-scheme: dark) {
  svg { background: #16181c; }
  .head { fill: #ddd; }
  g.f:hover rect, g.f:focus rect { stroke: #fff; }
}
)";

constexpr std::string_view kScript = R"(
'use strict';
(function () {
  var left = 10, span = 1180, character = 7, tiny = 1e-9;
  var boxes = Array.prototype.map.call(document.querySelectorAll('g.f'), function (g) {
    return {g: g, rect: g.querySelector('rect'), text: g.querySelector('text'),
            name: g.querySelector('title').textContent.split('\n')[0],
            x: Number(g.dataset.x), w: Number(g.dataset.w), d: Number(g.dataset.d)};
  });
  var info = document.getElementById('info'), found = document.getElementById('found');
  var box = document.getElementById('search');
  function fit(b, x, w) {
    var room = Math.floor((w * span - 4) / character);
    b.rect.setAttribute('x', left + x * span);
    b.rect.setAttribute('width', Math.max(w * span - 0.5, 0.1));
    b.text.setAttribute('x', left + x * span + 3);
    b.text.textContent = room < 3 ? '' : b.name.length <= room ? b.name : b.name.slice(0, room - 2) + '..';
  }
  function zoom(to) {
    boxes.forEach(function (b) {
      var above = b.d < to.d && b.x <= to.x + tiny && b.x + b.w >= to.x + to.w - tiny;
      var inside = b.d >= to.d && b.x >= to.x - tiny && b.x + b.w <= to.x + to.w + tiny;
      b.g.classList.toggle('above', above);
      b.g.classList.toggle('out', !above && !inside);
      if (above) fit(b, 0, 1);
      if (inside) fit(b, (b.x - to.x) / to.w, b.w / to.w);
    });
  }
  function search() {
    var wanted = box.value.toLowerCase(), end = -1, sum = 0;
    boxes.forEach(function (b) {
      b.hit = wanted !== '' && b.name.toLowerCase().indexOf(wanted) >= 0;
      b.g.classList.toggle('found', b.hit);
    });
    boxes.filter(function (b) { return b.hit; })
      .sort(function (a, b) { return a.x - b.x || a.d - b.d; })
      .forEach(function (b) { if (b.x >= end - tiny) { sum += b.w; end = b.x + b.w; } });
    found.textContent = wanted === '' ? '' : (100 * sum).toFixed(1) + ' %';
  }
  boxes.forEach(function (b) {
    b.g.addEventListener('click', function () { zoom(b); });
    b.g.addEventListener('keydown', function (e) { if (e.key === 'Enter') zoom(b); });
    var tell = function () { info.textContent = b.g.querySelector('title').textContent.replace('\n', ': '); };
    b.g.addEventListener('mouseover', tell);
    b.g.addEventListener('focus', tell);
  });
  box.addEventListener('input', search);
  document.addEventListener('keydown', function (e) {
    if ((e.ctrlKey || e.metaKey) && e.key === 'f' && document.activeElement !== box) { e.preventDefault(); box.focus(); }
    if (e.key === 'Escape') { box.value = ''; search(); box.blur(); if (boxes.length) zoom(boxes[0]); }
  });
})();
)";

/// XML knows no control characters, not even escaped.
std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : printable(text, kMostName)) switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      case '"': out += "&quot;"; break;
      case '\'': out += "&#39;"; break;
      default: out += c;
    }
  return out;
}

std::string number(double value, const char* format) {
  char text[48];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string told(std::int64_t value, std::string_view unit) {
  const auto v = static_cast<double>(value);
  if (unit == "nanoseconds")
    return v >= 1e9 ? number(v / 1e9, "%.2f s") : v >= 1e6 ? number(v / 1e6, "%.1f ms") : number(v / 1e3, "%.1f us");
  if (unit == "bytes") return v >= 1024 * 1024 ? number(v / (1024 * 1024), "%.1f MiB") : number(v / 1024, "%.1f KiB");
  return std::to_string(value) + (unit == "count" ? "" : " " + std::string(unit));
}

std::string cut_to(const std::string& name, double width) {
  const double fits = (width - 4) / kCharacter;
  if (fits < 3) return {};
  const auto room = static_cast<std::size_t>(fits);
  return name.size() <= room ? name : name.substr(0, room - 2) + "..";
}

}  // namespace

struct FlameGraph::Drawing {
  std::string boxes;
  double bottom = 0;  // y of the outermost row
  std::size_t depth = 0;
  std::size_t left_out = 0;
};

void FlameGraph::add(std::span<const std::string_view> frames, std::int64_t value) {
  if (value <= 0) return;
  nodes_.front().value += value;
  std::size_t at = 0;
  for (std::size_t i = 0; i < std::min(frames.size(), kMostDepth); ++i) {
    auto next = nodes_[at].calls.find(frames[i]);
    if (next == nodes_[at].calls.end()) {
      if (nodes_.size() == kMostNodes) break;
      next = nodes_[at].calls.emplace(std::string(frames[i]), nodes_.size()).first;
      nodes_.push_back(Node{std::string(frames[i])});
      next = nodes_[at].calls.find(frames[i]);
    }
    at = next->second;
    nodes_[at].value += value;
  }
  nodes_[at].self += value;
}

/// What spends most itself, wherever it is called from.
std::string FlameGraph::widest_leaf() const {
  std::unordered_map<std::string_view, std::int64_t> sums;
  for (const Node& node : nodes_)
    if (node.self > 0) sums[node.name] += node.self;
  const auto most = std::max_element(sums.begin(), sums.end(), [](const auto& a, const auto& b) {
    return a.second < b.second || (a.second == b.second && a.first > b.first);
  });
  if (most == sums.end()) return "no samples";
  return "most by itself: " + std::string(most->first) + ", " +
         number(100 * static_cast<double>(most->second) / static_cast<double>(total()), "%.1f %%");
}

void FlameGraph::draw(Drawing& drawing, std::size_t node, double x, std::size_t depth) const {
  const Node& n = nodes_[node];
  const double width = static_cast<double>(n.value) / static_cast<double>(std::max<std::int64_t>(total(), 1));
  if (depth != 0 && width < kNarrowest) {
    ++drawing.left_out;
    return;
  }
  drawing.depth = std::max(drawing.depth, depth);
  const double y = drawing.bottom - kRow * static_cast<double>(depth);
  const std::string name = printable(n.name, kMostName);
  const auto hash = static_cast<unsigned>(std::hash<std::string_view>()(n.name) % 4096);
  const std::string at = number(kMargin + x * kSpan, "%.2f");
  drawing.boxes += "<g class=\"f\" tabindex=\"0\" data-x=\"" + number(x, "%.9f") + "\" data-w=\"" +
                   number(width, "%.9f") + "\" data-d=\"" + std::to_string(depth) + "\"><title>" + escaped(n.name) +
                   "\n" + told(n.value, unit_) + ", " + number(100 * width, "%.2f %%") +
                   (n.self != n.value ? ", itself " + told(n.self, unit_) : std::string()) + "</title><rect x=\"" + at +
                   "\" y=\"" + number(y, "%.0f") + "\" width=\"" + number(std::max(width * kSpan - 0.5, 0.1), "%.2f") +
                   "\" height=\"16\" rx=\"1\" fill=\"hsl(" + std::to_string(8 + hash % 46) + ",85%," +
                   std::to_string(58 + hash / 46 % 16) + "%)\"/><text x=\"" + number(kMargin + x * kSpan + 3, "%.2f") +
                   "\" y=\"" + number(y + 12, "%.0f") + "\">" + escaped(cut_to(name, width * kSpan)) + "</text></g>\n";
  std::vector<std::size_t> calls;
  calls.reserve(n.calls.size());
  for (const auto& [callee, index] : n.calls) calls.push_back(index);
  std::stable_sort(calls.begin(), calls.end(),
                   [this](std::size_t a, std::size_t b) { return nodes_[a].value > nodes_[b].value; });
  for (const std::size_t call : calls) {
    draw(drawing, call, x, depth + 1);
    x += static_cast<double>(nodes_[call].value) / static_cast<double>(total());
  }
}

std::string FlameGraph::svg(std::string_view nonce) const {
  // Where the outermost row stands is known when all are: drawn upwards from 0, and moved as a whole.
  Drawing drawing;
  draw(drawing, 0, 0, 0);
  const double height = kHead + kRow * static_cast<double>(drawing.depth + 1) + 28;
  const std::string h = number(height, "%.0f");
  std::string page = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<svg xmlns=\"http://www.w3.org/2000/svg\" ";
  page += "viewBox=\"0 0 1200 " + h + "\" width=\"1200\" height=\"" + h + "\">\n<style nonce=\"" + std::string(nonce) +
          "\">" + std::string(kStyle) + "</style>\n";
  page += "<text class=\"head title\" x=\"10\" y=\"22\">" + escaped(title_) + ": " + told(total(), unit_) +
          "</text>\n<text class=\"head\" x=\"10\" y=\"40\">" + escaped(widest_leaf()) + "</text>\n";
  page += "<text class=\"head\" x=\"10\" y=\"57\" id=\"info\">click: zoom; Esc: all; Ctrl-F: search</text>\n";
  page +=
      "<foreignObject x=\"990\" y=\"6\" width=\"200\" height=\"26\"><input xmlns=\"http://www.w3.org/1999/xhtml\" "
      "id=\"search\" type=\"search\" placeholder=\"search\" aria-label=\"search functions\"/></foreignObject>\n"
      "<text class=\"head\" x=\"1190\" y=\"48\" text-anchor=\"end\" id=\"found\"></text>\n";
  page += "<g transform=\"translate(0," + number(height - 28 - kRow, "%.0f") + ")\">\n" + drawing.boxes + "</g>\n";
  if (drawing.left_out != 0)
    page += "<text class=\"head\" x=\"10\" y=\"" + number(height - 8, "%.0f") + "\">" +
            std::to_string(drawing.left_out) + " boxes too narrow to be seen are left out</text>\n";
  page += "<script nonce=\"" + std::string(nonce) + "\"><![CDATA[" + std::string(kScript) + "]]></script>\n</svg>\n";
  return page;
}

FlameGraph draw_flames(const PprofProfile& profile, std::size_t type, std::string title) {
  FlameGraph graph(std::move(title), profile.types().at(type).second);
  SymbolNames names;
  std::unordered_map<std::uintptr_t, std::string> known;
  std::vector<std::string_view> stack;
  profile.for_each([&](std::span<const std::uintptr_t> frames, std::span<const std::int64_t> values) {
    stack.clear();
    for (auto frame = frames.rbegin(); frame != frames.rend(); ++frame) {
      const auto [at, fresh] = known.try_emplace(*frame);
      if (fresh) at->second = names.frame(*frame);
      stack.push_back(at->second);
    }
    graph.add(stack, values[type]);
  });
  return graph;
}

}  // namespace fiberd::observe
