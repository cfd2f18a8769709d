#include "core/net/yaml.hpp"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <charconv>

#include "core/base/files.hpp"
#include "core/net/source_text.hpp"
#include "core/net/yaml_tree.hpp"

namespace ripcord {
namespace {

using Kind = YamlNode::Kind;
constexpr std::size_t kMaxShown = 50;  // mistakes; a file in the wrong format has one in every line

std::string described(const YamlNode& node) {
  switch (node.kind) {
    case Kind::map: return "a map";
    case Kind::list: return "a list";
    case Kind::scalar: return node.text.empty() ? "an empty text" : "'" + node.text.substr(0, 80) + (node.text.size() > 80 ? "..." : "") + "'";
    default: return "nothing";
  }
}

}  // namespace

const YamlNode::Member* YamlNode::find(std::string_view key) const {
  if (index.empty())
    for (std::size_t i = 0; i < members.size(); ++i) index.emplace(members[i].key->text, i);
  auto found = index.find(key);
  return found == index.end() ? nullptr : &members[found->second];
}

struct YamlFile::Impl {
  struct Mistake {
    YamlPlace place;
    std::size_t width;
    std::string message;
  };
  Impl(std::string file, std::string text) : name(std::move(file)), source(std::move(text)) {}
  std::string name;
  SourceText source;
  std::deque<YamlNode> nodes;
  const YamlNode* root = nullptr;
  std::vector<Mistake> mistakes;
  std::set<std::string> seen;
};

YamlFile::YamlFile(std::string name, std::string text, std::size_t limit) {
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  bool too_large = text.size() > limit;
  impl_ = std::make_unique<Impl>(std::move(name), too_large ? std::string() : std::move(text));
  if (too_large) {
    report({1, 1}, 0, fmt::format("larger than {}, which no file of this kind should be", format_size(limit)));
    return;
  }
  const auto& source = impl_->source;
  impl_->root = parse_yaml(source.text(), impl_->nodes, [&](std::size_t pos, std::size_t length, std::string message) {
    report(source.place(pos), source.code_points(pos, length), std::move(message));
  });
}

YamlFile YamlFile::load(const std::string& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) throw os_error("read", path, errno);
  if (!S_ISREG(st.st_mode)) throw Error("cannot read '" + path + "': not a regular file");
  return YamlFile(path, read_file(path));
}

YamlFile::~YamlFile() = default;
YamlFile::YamlFile(YamlFile&&) noexcept = default;

Yaml YamlFile::root() { return Yaml(impl_->root, this); }

void YamlFile::report(YamlPlace place, std::size_t width, std::string message) {
  auto key = fmt::format("{}:{}:{}", place.line, place.column, message);
  if (impl_->seen.insert(key).second) impl_->mistakes.push_back({place, width, std::move(message)});
}

bool YamlFile::failed() const { return !impl_->mistakes.empty(); }

void YamlFile::finish() {
  auto& mistakes = impl_->mistakes;
  if (mistakes.empty()) return;
  std::stable_sort(mistakes.begin(), mistakes.end(), [](const auto& a, const auto& b) {
    return std::pair(a.place.line, a.place.column) < std::pair(b.place.line, b.place.column);
  });
  std::string text;
  for (std::size_t i = 0; i < std::min(mistakes.size(), kMaxShown); ++i) {
    const auto& m = mistakes[i];
    auto message = escape_terminal(mask_secrets(m.message));
    if (m.place.line == 0) {
      text += message + "\n";
      continue;
    }
    text += fmt::format("{}:{}:{}: {}\n", escape_terminal(impl_->name), m.place.line, m.place.column, message);
    if (m.width) text += impl_->source.excerpt(m.place, m.width);
  }
  if (mistakes.size() > kMaxShown) text += fmt::format("and {} more\n", mistakes.size() - kMaxShown);
  text.pop_back();
  throw Error(text, "correct the file; docs/files.md explains every key", Exit::invalid_file);
}

bool Yaml::is_map() const { return node_ && node_->kind == Kind::map; }
bool Yaml::is_list() const { return node_ && node_->kind == Kind::list; }
bool Yaml::is_scalar() const { return node_ && node_->kind == Kind::scalar; }
bool Yaml::is_null() const { return node_ && node_->kind == Kind::null; }
bool Yaml::was_quoted() const { return node_ && node_->quoted; }

YamlPlace Yaml::place() const { return node_ ? file_->impl_->source.place(node_->pos) : YamlPlace{}; }

void Yaml::error(std::string message) const {
  if (!node_ || node_->kind == Kind::bad) return;
  const auto& source = file_->impl_->source;
  file_->report(source.place(node_->pos), source.code_points(node_->pos, node_->length), std::move(message));
}

void Yaml::error_at_key(std::string_view key, std::string message) const {
  const auto* member = is_map() ? node_->find(key) : nullptr;
  (member ? Yaml(member->key, file_) : *this).error(std::move(message));
}

YamlPlace Yaml::key_place(std::string_view key) const {
  const auto* member = is_map() ? node_->find(key) : nullptr;
  return (member ? Yaml(member->key, file_) : *this).place();
}

bool Yaml::expect(bool is_kind, std::string_view kind) const {
  if (is_kind) return true;
  if (node_) error(fmt::format("expected {}, found {}", kind, described(*node_)));
  return false;
}

bool Yaml::scalar(std::string_view expected) const { return expect(is_scalar() && !node_->text.empty(), expected); }

Yaml Yaml::get(std::string_view key) const {
  if (!expect(is_map(), "a map")) return {};
  node_->asked.emplace(key);
  const auto* member = node_->find(key);
  return member ? Yaml(member->value, file_) : Yaml();
}

Yaml Yaml::require(std::string_view key) const {
  auto found = get(key);
  if (!found && is_map()) error(fmt::format("missing key '{}'", key));
  return found;
}

void Yaml::close() const {
  if (!is_map() || node_->asked_all) return;
  std::vector<std::string> absent, known(node_->asked.begin(), node_->asked.end());
  std::copy_if(known.begin(), known.end(), std::back_inserter(absent), [&](const auto& key) { return !node_->find(key); });
  for (const auto& m : node_->members) {
    if (node_->asked.count(m.key->text)) continue;
    auto near = did_you_mean(m.key->text, absent);
    Yaml(m.key, file_).error(fmt::format("unknown key '{}', {}", m.key->text,
                                         near ? "did you mean '" + *near + "'?" : "known are " + join(known, ", ")));
  }
}

std::vector<std::pair<std::string, Yaml>> Yaml::members() const {
  std::vector<std::pair<std::string, Yaml>> out;
  if (!expect(is_map(), "a map")) return out;
  node_->asked_all = true;
  out.reserve(node_->members.size());
  for (const auto& m : node_->members) out.emplace_back(m.key->text, Yaml(m.value, file_));
  return out;
}

std::vector<Yaml> Yaml::items(bool allow_single) const {
  if (allow_single && is_scalar()) return {*this};
  std::vector<Yaml> out;
  if (!expect(is_list(), allow_single ? "a list or one value" : "a list")) return out;
  for (const auto* item : node_->items) out.push_back(Yaml(item, file_));
  return out;
}

std::string Yaml::string() const { return scalar("a text") ? node_->text : std::string(); }

std::string Yaml::string_or(std::string fallback) const { return node_ ? string() : fallback; }

std::int64_t Yaml::integer(std::int64_t min, std::int64_t max) const {
  auto expected = fmt::format("a whole number from {} to {}", min, max);
  if (!scalar(expected)) return min;
  const auto& text = node_->text;
  std::int64_t value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  auto digits = text[0] == '-' ? text.substr(1) : text;
  bool canonical = digits == "0" || (!digits.empty() && digits[0] != '0');
  if (ec != std::errc() || end != text.data() + text.size() || !canonical || value < min || value > max) {
    expect(false, expected);
    return min;
  }
  return value;
}

bool Yaml::boolean() const {
  if (!scalar("true or false")) return false;
  return expect(!node_->quoted && (node_->text == "true" || node_->text == "false"), "true or false") && node_->text == "true";
}

Millis Yaml::duration() const {
  constexpr std::string_view kExpected = "a duration with its unit (500ms, 10s, 5m, 1h30m, 14d)";
  if (!scalar(kExpected)) return Millis(0);
  auto parsed = parse_duration(node_->text);
  // Some hundred years: sums of a few of them stay far from the type's limits.
  constexpr Millis kLongest{std::int64_t{100} * 365 * 86400000};
  if (parsed && *parsed > kLongest) return error("longer than a hundred years"), Millis(0);
  expect(parsed.has_value(), kExpected);
  return parsed.value_or(Millis(0));
}

std::uint64_t Yaml::size() const {
  constexpr std::string_view kExpected = "a size (512, 64KiB, 5MiB, 2GiB)";
  if (!scalar(kExpected)) return 0;
  auto parsed = parse_size(node_->text);
  expect(parsed.has_value(), kExpected);
  return parsed.value_or(0);
}

unsigned Yaml::mode() const {
  constexpr std::string_view kExpected = "an octal mode with a leading zero (0644)";
  if (!scalar(kExpected)) return 0;
  const auto& text = node_->text;
  bool good = text[0] == '0' && text.size() >= 4 && text.size() <= 5 && text.find_first_not_of("01234567") == std::string::npos;
  if (!expect(good, kExpected)) return 0;
  return static_cast<unsigned>(std::stoul(text, nullptr, 8));
}

std::vector<std::string> Yaml::strings(bool allow_single) const {
  std::vector<std::string> out;
  for (const auto& item : items(allow_single)) out.push_back(item.string());
  return out;
}

std::string Yaml::one_of(const std::vector<std::string>& words) const {
  auto expected = "one of " + join(words, ", ");
  if (!scalar(expected)) return {};
  if (std::find(words.begin(), words.end(), node_->text) != words.end()) return node_->text;
  auto near = did_you_mean(node_->text, words);
  error(fmt::format("expected {}, found {}{}", expected, described(*node_), near ? ", did you mean '" + *near + "'?" : ""));
  return {};
}

}  // namespace ripcord
