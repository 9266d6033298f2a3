#include "daemon/services/aggregate/series.hpp"

namespace fiberd::daemon::aggregate {

void Series::add(const StatsdLine& line) {
  touched = true;
  switch (kind_of(line.type)) {
    case Kind::counter:
      for (std::size_t i = 0; i < line.count; ++i) {
        const double n = line.values[i] * line.weight;
        total += n;
        delta += n;
      }
      break;
    case Kind::gauge:
      for (std::size_t i = 0; i < line.count; ++i)
        total = (line.relative >> i & 1U) != 0 ? total + line.values[i] : line.values[i];
      break;
    case Kind::timer:
      if (sketch == nullptr) sketch = std::make_unique<metric::Sketch>(metric::Sketch::kRelativeError, kBins);
      for (std::size_t i = 0; i < line.count; ++i) {
        sketch->add(line.values[i], line.weight);
        total += line.values[i] * line.weight;
        count += line.weight;
      }
      break;
    case Kind::set: break;
  }
}

}  // namespace fiberd::daemon::aggregate
