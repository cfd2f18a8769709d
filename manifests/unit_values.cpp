#include <fmt/format.h>

#include <algorithm>

#include "manifests/shared/manifest.hpp"
#include "manifests/shared/tree.hpp"
#include "manifests/unit_draft.hpp"

namespace ripcord {

std::string template_text(const Yaml& node) {
  auto text = node.string();
  try {
    template_variables(text, "");
  } catch (const Error& e) {
    // Its own place (":1:5: ...") counts from the beginning of this value; ours is better.
    auto message = e.message();
    auto at = message.find(": ");
    node.error(at == std::string::npos ? message : message.substr(at + 2));
  }
  return text;
}

std::string absolute_template(const Yaml& node, bool plain) {
  auto text = plain ? node.string() : template_text(node);
  if (text.empty() || text[0] == '/') return text;
  for (std::string_view base : {"${release}/", "${current}/", "${shared}/"})
    if (!plain && text.starts_with(base)) return text;
  node.error(plain ? "an absolute path is needed" : "an absolute path is needed, or one below ${release}, ${current} or ${shared}");
  return {};
}

std::string release_path(const Yaml& node) {
  auto path = node.string();
  if (path.empty()) return path;
  try {
    check_release_path(path);
  } catch (const Error& e) {
    node.error(e.message());
    return {};
  }
  return path;
}

std::string word(const Yaml& node, std::string_view first, std::string_view more, std::size_t most, std::string_view what) {
  auto text = node.string();
  if (text.empty()) return text;
  auto in = [&](char c) { return first.find(c) != std::string_view::npos || more.find(c) != std::string_view::npos; };
  if (text.size() <= most && first.find(text[0]) != std::string_view::npos && std::all_of(text.begin(), text.end(), in)) return text;
  node.error(fmt::format("'{}' is not {}", text, what));
  return {};
}

std::string owner(const Yaml& node) {
  auto text = node.string();
  if (text.empty()) return text;
  auto good = [](const std::string& name) {
    return !name.empty() && name.size() <= 64 && name[0] != '-' && std::all_of(name.begin(), name.end(), [](unsigned char c) {
      return std::isalnum(c) || c == '_' || c == '-' || c == '.' || c == '$';
    });
  };
  auto parts = split(text, ':');
  if (parts.size() <= 2 && std::all_of(parts.begin(), parts.end(), good)) return text;
  node.error(fmt::format("'{}' is not an owner (user or user:group)", text));
  return {};
}

std::string date(const Yaml& node) {
  auto text = node.string();
  if (text.empty()) return text;
  bool form = text.size() == 10 && text[4] == '-' && text[7] == '-';
  for (std::size_t i = 0; form && i < 10; ++i) form = i == 4 || i == 7 || (text[i] >= '0' && text[i] <= '9');
  if (form) {
    int year = std::stoi(text.substr(0, 4)), month = std::stoi(text.substr(5, 2)), day = std::stoi(text.substr(8, 2));
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    const int days[] = {31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1]) return text;
  }
  node.error(fmt::format("'{}' is not a date (2026-12-31)", text));
  return {};
}

Millis positive(const Yaml& node, Millis fallback) {
  if (!node) return fallback;
  bool said = !node.is_scalar() || !parse_duration(node.string());
  auto d = node.duration();
  if (!said && (d <= Millis(0) || d > Millis(86400000))) node.error("a time above zero and up to 24h is needed");
  return d > Millis(0) ? d : fallback;
}

}  // namespace ripcord
