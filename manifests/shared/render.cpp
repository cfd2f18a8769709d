#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "core/base/error.hpp"
#include "core/base/text.hpp"
#include "manifests/shared/tree.hpp"

namespace ripcord {
namespace {

constexpr std::string_view kHint = "write \"$${\" for a literal \"${\"";

bool name_char(char c, bool first) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_') return true;
  return !first && ((c >= '0' && c <= '9') || c == '.' || c == '-');
}

[[noreturn]] void fail(std::string_view text, std::size_t at, std::string_view where, const std::string& what, std::string hint) {
  auto before = text.substr(0, at);
  auto line = std::count(before.begin(), before.end(), '\n') + 1;
  auto begin = before.rfind('\n') + 1;  // npos + 1 is 0
  auto column = 1 + std::count_if(before.begin() + static_cast<std::ptrdiff_t>(begin), before.end(),
                                  [](char c) { return (c & 0xC0) != 0x80; });  // characters, not bytes
  throw Error(fmt::format("{}:{}:{}: {}", where, line, column, what), std::move(hint), Exit::invalid_file);
}

// Walks a template: literal(part) and variable(name, offset) in turn.
template <class Literal, class Variable>
void walk(std::string_view text, std::string_view where, Literal literal, Variable variable) {
  std::size_t from = 0;
  for (auto at = text.find('$'); at != std::string_view::npos; at = text.find('$', at)) {
    if (text.substr(at, 3) == "$${") {
      literal(text.substr(from, at - from));
      literal("${");
      from = at += 3;
      continue;
    }
    if (text.substr(at, 2) != "${") {
      ++at;
      continue;
    }
    literal(text.substr(from, at - from));
    auto end = at + 2;
    while (end < text.size() && name_char(text[end], end == at + 2)) ++end;
    auto name = text.substr(at + 2, end - at - 2);
    if (end == text.size() || text[end] == '\n') fail(text, at, where, "'${' is not closed by '}' on its line", std::string(kHint));
    if (text[end] != '}' || name.empty()) {
      auto shown = text.substr(at, std::min(text.find_first_of("}\n", at), at + 60) - at);
      fail(text, at, where, fmt::format("'{}}}' does not name a variable (letters, digits, '_', '.', '-')", escape_terminal(shown)),
           std::string(kHint));
    }
    variable(name, at);
    from = at = end + 1;
  }
  literal(text.substr(from));
}

}  // namespace

std::string render(std::string_view text, const Labels& variables, std::string_view where) {
  std::string out;
  out.reserve(text.size() + 64);
  walk(
      text, where, [&](std::string_view part) { out += part; },
      [&](std::string_view name, std::size_t at) {
        auto found = variables.find(std::string(name));
        if (found != variables.end()) {
          out += found->second;
          return;
        }
        if (name == "release" || name == "current" || name == "shared")
          fail(text, at, where, fmt::format("'${{{}}}' is not known here: the tree's digest would depend on where it is installed", name),
               "use a path relative to the service's folder, or hand the path to the service in run:");
        std::vector<std::string> known;
        for (const auto& [key, value] : variables) known.push_back(key);
        auto near = did_you_mean(name, known);
        fail(text, at, where, fmt::format("unknown variable '${{{}}}'", name) + (near ? fmt::format("; did you mean '${{{}}}'?", *near) : ""),
             fmt::format("known are {}; {}", join(known, ", "), kHint));
      });
  return out;
}

std::vector<std::string> template_variables(std::string_view text, std::string_view where) {
  std::set<std::string> names;
  walk(text, where, [](std::string_view) {}, [&](std::string_view name, std::size_t) { names.emplace(name); });
  return {names.begin(), names.end()};
}

}  // namespace ripcord
