#include "plans/files/selector.hpp"

#include <algorithm>

#include "core/base/error.hpp"
#include "core/base/text.hpp"

namespace ripcord {
namespace {

bool is_key(std::string_view word) {
  return !word.empty() && word[0] >= 'a' && word[0] <= 'z' &&
         word.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string_view::npos;
}

bool is_glob(std::string_view word) { return word.find_first_of("*?") != std::string_view::npos; }

[[noreturn]] void bad_selector(const std::string& selector, const std::string& why, const std::string& hint = {}) {
  throw Error("selector '" + escape_terminal(selector) + "': " + why, hint, Exit::invalid_file);
}

std::string quoted(std::string_view text) { return "'" + escape_terminal(text) + "'"; }

// Splits at `separator` outside of parentheses.
std::vector<std::string> split_outside(const std::string& whole, const std::string& text, char separator) {
  std::vector<std::string> parts(1);
  bool inside = false;
  for (char c : text) {
    if ((c == '(' && inside) || (c == ')' && !inside)) bad_selector(whole, "parentheses do not match");
    if (c == '(' || c == ')') inside = c == '(';
    if (c == separator && !inside) parts.emplace_back();
    else parts.back() += c;
  }
  if (inside) bad_selector(whole, "parentheses do not match");
  return parts;
}

std::string key_of(const std::string& whole, std::string_view text) {
  auto key = trim(text);
  if (!is_key(key)) bad_selector(whole, quoted(key) + " is not a label's name (lower-case letters, digits, '_')");
  return std::string(key);
}

std::string value_of(const std::string& whole, std::string_view text) {
  auto value = trim(text);
  if (value.empty()) bad_selector(whole, "a value is missing");
  if (is_glob(value)) bad_selector(whole, quoted(value) + ": a glob stands alone and is compared with host names");
  if (value.find_first_of("=!() ") != std::string_view::npos) bad_selector(whole, quoted(value) + " is not a label's value");
  return std::string(value);
}

}  // namespace

Selector Selector::parse(const std::string& text) {
  Selector out;
  out.text_ = std::string(trim(text));
  if (out.text_ == "all") return out;
  if (out.text_.empty()) bad_selector(text, "it is empty", "write 'all' for every host");
  for (const auto& alternative : split_outside(text, text, '|')) {
    auto& all_of = out.any_of_.emplace_back();
    for (const auto& part : split_outside(text, alternative, ',')) {
      auto word = std::string(trim(part));
      if (word.empty()) bad_selector(text, "a term is missing beside ',' or '|'");
      if (word == "all" || word == "!all") bad_selector(text, "'all' stands alone");
      if (auto open = word.find('('); open != std::string::npos) {
        if (word.back() != ')') bad_selector(text, quoted(word) + ": nothing may follow ')'");
        auto words = std::vector<std::string>();
        for (const auto& w : split(trim(std::string_view(word).substr(0, open)), ' '))
          if (!w.empty()) words.push_back(w);
        bool negated = words.size() == 3 && words[1] == "not" && words[2] == "in";
        if (!negated && !(words.size() == 2 && words[1] == "in"))
          bad_selector(text, quoted(word) + ": expected 'label in (a, b)' or 'label not in (a, b)'");
        Term term{negated ? Test::not_in : Test::in, key_of(text, words[0]), {}};
        for (const auto& v : split(word.substr(open + 1, word.size() - open - 2), ',')) term.values.push_back(value_of(text, v));
        all_of.push_back(std::move(term));
      } else if (auto equals = word.find('='); equals != std::string::npos) {
        bool differs = equals > 0 && word[equals - 1] == '!';
        if (word.compare(equals, 2, "==") == 0) bad_selector(text, quoted(word) + ": write one '='");
        all_of.push_back({differs ? Test::differs : Test::equals, key_of(text, word.substr(0, equals - (differs ? 1 : 0))),
                          {value_of(text, word.substr(equals + 1))}});
      } else {
        bool negated = word[0] == '!';
        auto name = std::string(trim(negated ? std::string_view(word).substr(1) : std::string_view(word)));
        if (is_key(name)) {
          all_of.push_back({negated ? Test::lacks : Test::has, name, {}});
          continue;
        }
        if (name.empty() || name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789._-*?") != std::string::npos)
          bad_selector(text, quoted(word) + " is neither a label nor a host's name",
               "'role=web', 'role in (web, api)', 'gpu', '!gpu', 'web-*', joined by ',' (and) and '|' (or)");
        all_of.push_back({negated ? Test::not_glob : Test::glob, "host", {name}});
      }
    }
  }
  return out;
}

bool Selector::matches(const Labels& labels) const {
  auto holds = [&](const Term& term) {
    auto label = labels.find(term.key);
    bool there = label != labels.end();
    // "gpu" may be a label or the name of a host.
    auto is_host = [&](const std::string& word) {
      auto host = labels.find("host");
      return host != labels.end() && host->second == word;
    };
    auto among = [&] { return there && std::find(term.values.begin(), term.values.end(), label->second) != term.values.end(); };
    switch (term.test) {
      case Test::equals:
      case Test::in: return among();
      case Test::differs:
      case Test::not_in: return !among();
      case Test::has: return there || is_host(term.key);
      case Test::lacks: return !there && !is_host(term.key);
      case Test::glob: return there && glob_match(term.values[0], label->second);
      case Test::not_glob: return !(there && glob_match(term.values[0], label->second));
    }
    return false;
  };
  return any_of_.empty() ||
         std::any_of(any_of_.begin(), any_of_.end(), [&](const auto& terms) { return std::all_of(terms.begin(), terms.end(), holds); });
}

}  // namespace ripcord
