#include "plans/files/persistence.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "core/base/error.hpp"
#include "core/base/text.hpp"

namespace ripcord {
namespace {

int number(std::string_view text) {
  int n = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
  return error == std::errc() && end == text.data() + text.size() ? n : 0;
}

}  // namespace

Persistence Persistence::parse(std::string_view text) {
  auto at = text.find(" of "), slash = text.find('/');
  auto first = text.substr(0, std::min(at, slash)), rest = at != text.npos ? text.substr(at + 4) : slash != text.npos ? text.substr(slash + 1) : "";
  Persistence p{number(trim(first)), number(trim(rest))};
  if (p.k < 1 || p.n < p.k || p.n > 100)
    throw Error(fmt::format("'{}' is not k of n scans, as in '2 of 3' (n at most 100)", escape_terminal(text)), {}, Exit::usage);
  return p;
}

std::string Persistence::text() const { return fmt::format("{} of {}", k, n); }

}  // namespace ripcord
