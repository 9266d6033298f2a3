// Boost.JSON is compiled here, once: its library is not among the packages that fiberd needs, its headers are.
#include <boost/json/src.hpp>
