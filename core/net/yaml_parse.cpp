#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <unordered_map>

#include "core/base/text.hpp"
#include "core/net/yaml_tree.hpp"

namespace ripcord {
namespace {

constexpr std::size_t kMaxDepth = 32;

struct Stop {};  // reported, and nothing more can be learned from the rest of the file

// Where the quoted text that starts at `pos` ends (behind the closing quote); npos when it does not.
std::size_t end_of_quoted(std::string_view text, std::size_t pos) {
  char quote = text[pos];
  for (auto i = pos + 1; i < text.size(); ++i) {
    if (quote == '"' && text[i] == '\\') ++i;
    else if (text[i] == quote && quote == '\'' && i + 1 < text.size() && text[i + 1] == quote) ++i;
    else if (text[i] == quote) return i + 1;
  }
  return std::string_view::npos;
}

std::size_t to_end_of_line(std::string_view text, std::size_t pos) {
  auto line = text.substr(pos, text.substr(pos).find('\n'));
  return std::max<std::size_t>(1, trim(line).size());
}

// Builds nodes from yaml-cpp's events. Its own node graph forgets anchors, tags and duplicate keys, which is why it is not used.
class Builder : public YAML::EventHandler {
 public:
  Builder(const std::string& text, std::deque<YamlNode>& nodes, const YamlReport& report)
      : text_(text), nodes_(nodes), report_(report) {}

  const YamlNode* root() const { return root_; }
  std::size_t last_pos() const { return last_; }
  bool ran_on() const { return ran_on_; }

  void OnDocumentStart(const YAML::Mark& mark) override {
    if (documents_++ == 0) return;
    auto pos = at(mark);
    report_(pos, to_end_of_line(text_, pos),
            text_.compare(pos, 3, "---") == 0 ? "a second document starts here, a file holds one"
                                              : "this belongs to nothing before it: check the indentation and '-'");
    throw Stop{};
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    auto& node = make(YamlNode::Kind::null, mark);
    if (anchor || source(node.pos) == '!' || source(node.pos) == '&') decorated(node, anchor);
    add(node);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override {
    auto& node = make(YamlNode::Kind::bad, mark);
    report_(node.pos, word_length(node.pos), "aliases (*) are not used in this file, write the value out");
    add(node);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    auto& node = make(YamlNode::Kind::scalar, mark);
    node.text = value;
    char first = source(node.pos);
    if (anchor || first == '!' || (tag != "?" && tag != "!")) {
      decorated(node, anchor);
    } else if (tag == "?") {
      plain(node);
    } else {
      node.quoted = true;
      if (first == '"' || first == '\'') quoted(node);
      if (node.text.find('\0') != std::string::npos) {
        report_(node.pos, node.length, "a NUL within a text");  // would end it early wherever it is used
        node.kind = YamlNode::Kind::bad;
      }
    }
    add(node);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    begin(YamlNode::Kind::list, mark, tag, anchor);
  }
  void OnSequenceEnd() override { open_.pop_back(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    begin(YamlNode::Kind::map, mark, tag, anchor);
  }
  void OnMapEnd() override { open_.pop_back(); }

 private:
  struct Open {
    YamlNode* node;
    YamlNode* key = nullptr;
    std::unordered_map<std::string_view, std::size_t> seen;  // key -> where
  };

  std::size_t at(const YAML::Mark& mark) const { return mark.pos < 0 ? 0 : std::min<std::size_t>(static_cast<std::size_t>(mark.pos), text_.size()); }
  char source(std::size_t pos) const { return pos < text_.size() ? text_[pos] : '\0'; }
  std::size_t word_length(std::size_t pos) const {
    return std::max<std::size_t>(1, std::min(text_.find_first_of(" \r\n,]}", pos), text_.size()) - pos);
  }

  YamlNode& make(YamlNode::Kind kind, const YAML::Mark& mark) {
    auto& node = nodes_.emplace_back();
    node.kind = kind;
    node.pos = last_ = at(mark);
    ran_on_ = false;
    return node;
  }

  void decorated(YamlNode& node, YAML::anchor_t anchor) {
    bool is_anchor = anchor && source(node.pos) != '!';
    report_(node.pos, word_length(node.pos),
            is_anchor ? "anchors (&) are not used in this file, write the value out" : "tags (!) are not used in this file");
    node.kind = YamlNode::Kind::bad;
  }

  void plain(YamlNode& node) {
    node.length = node.text.size();
    if (text_.compare(node.pos, node.length, node.text) == 0) return;
    node.length = to_end_of_line(text_, node.pos);
    report_(node.pos, node.length, "this text goes on in the next line: check the indentation there, or put it in quotes");
    node.kind = YamlNode::Kind::bad;
    ran_on_ = true;
  }

  void quoted(YamlNode& node) {
    auto end = end_of_quoted(text_, node.pos);
    node.length = std::min(end, text_.size()) - node.pos;
    if (text_.find('\n', node.pos) >= node.pos + node.length && end != std::string::npos) return;
    node.length = to_end_of_line(text_, node.pos);
    report_(node.pos, node.length, "this quote is not closed in its line");
    node.kind = YamlNode::Kind::bad;
    ran_on_ = true;
  }

  void begin(YamlNode::Kind kind, const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor) {
    auto& node = make(kind, mark);
    if (open_.size() >= kMaxDepth) {
      report_(node.pos, 1, fmt::format("nested deeper than {} levels", kMaxDepth));
      throw Stop{};
    }
    bool tagged = tag != "?" && !tag.empty();
    // A block map's mark is that of its first key, whose own anchor is the key's affair.
    if (anchor || tagged) decorated(node, anchor);
    add(node);
    open_.push_back({&node, nullptr, {}});
  }

  void add(YamlNode& node) {
    if (open_.empty()) {
      root_ = &node;
      return;
    }
    auto& top = open_.back();
    auto kind = top.node->kind;
    if (kind == YamlNode::Kind::list) {
      // The mark of nothing is whatever comes next; what a person can look at is the dash or the key before it.
      if (node.kind == YamlNode::Kind::null && source(node.pos) != '-') node.pos = std::min(text_.rfind('-', node.pos), node.pos);
      top.node->items.push_back(&node);
    }
    if (kind != YamlNode::Kind::map) return;  // a bad one: its content is of no use
    if (!top.key) {
      top.key = &node;
      return;
    }
    member(top, *top.key, node);
    top.key = nullptr;
  }

  void member(Open& map, const YamlNode& key, YamlNode& value) {
    if (map.node->members.empty()) map.node->length = std::max(map.node->length, source(map.node->pos) == '{' ? 1 : key.length);
    if (key.kind == YamlNode::Kind::bad) return;
    if (key.kind != YamlNode::Kind::scalar) return report_(key.pos, 1, "a key must be text");
    if (key.text == "<<" && !key.quoted) return report_(key.pos, 2, "merge keys (<<) are not used in this file, write the members out");
    auto [first, is_new] = map.seen.emplace(key.text, key.pos);
    if (!is_new) {
      auto line = std::count(text_.begin(), text_.begin() + static_cast<std::ptrdiff_t>(first->second), '\n') + 1;
      return report_(key.pos, key.length, fmt::format("duplicate key '{}', first in line {}", key.text, line));
    }
    if (value.kind == YamlNode::Kind::null) value.pos = key.pos, value.length = key.length;
    map.node->members.push_back({&key, &value});
  }

  const std::string& text_;
  std::deque<YamlNode>& nodes_;
  const YamlReport& report_;
  std::vector<Open> open_;
  const YamlNode* root_ = nullptr;
  std::size_t last_ = 0;
  int documents_ = 0;
  bool ran_on_ = false;  // the last node swallowed other lines: what the parser says next only follows from that
};

// Bytes that no file may hold. False: there is nothing to parse.
bool check_bytes(const std::string& text, const YamlReport& report) {
  bool good = true;
  if (!is_utf8(text)) {
    std::size_t pos = 0;  // the longest good beginning
    while (pos < text.size()) {
      std::size_t n = 1;
      while (n <= 4 && pos + n <= text.size() && !is_utf8(std::string_view(text).substr(pos, n))) ++n;
      if (n > 4 || pos + n > text.size()) break;
      pos += n;
    }
    report(pos, 1, "not UTF-8: write the file in that encoding");
    return false;
  }
  for (std::size_t start = 0; start < text.size();) {
    auto end = std::min(text.find('\n', start), text.size());
    auto line = std::string_view(text).substr(start, end - start);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (!line.empty() && line[0] == '%') report(start, line.size(), "directives (%) are not used in this file"), good = false;
    if (escape_terminal(line).size() != line.size()) {
      for (std::size_t i = 0, n = 1; i < line.size(); i += n, n = 1) {
        while (i + n < line.size() && (static_cast<unsigned char>(line[i + n]) & 0xC0) == 0x80) ++n;
        auto shown = escape_terminal(line.substr(i, n));
        if (shown == line.substr(i, n)) continue;
        report(start + i, n, line[i] == '\t' ? "a tab: use blanks" : fmt::format("a character that cannot be seen ({})", shown));
        good = false;
        break;  // one a line
      }
    }
    start = end + 1;
  }
  return good;
}

// yaml-cpp's words for what is wrong, in ours.
std::string explain(const std::string& message) {
  static const std::map<std::string, std::string> kWords{
      {YAML::ErrorMsg::MAP_VALUE, "a ':' that cannot be here: check the indentation, or put the text in quotes"},
      {YAML::ErrorMsg::MAP_KEY, "a key that cannot be here: check the indentation"},
      {YAML::ErrorMsg::BLOCK_ENTRY, "a '-' that cannot be here: check the indentation"},
      {YAML::ErrorMsg::FLOW_END, "closes what was never opened"},
      {YAML::ErrorMsg::END_OF_MAP, "this does not fit into the map around it: check the indentation and ':'"},
      {YAML::ErrorMsg::END_OF_SEQ, "this does not fit into the list around it: check the indentation and '-'"},
      {YAML::ErrorMsg::END_OF_MAP_FLOW, "a ',' or '}' is missing"},
      {YAML::ErrorMsg::END_OF_SEQ_FLOW, "a ',' or ']' is missing"},
      {YAML::ErrorMsg::UNKNOWN_TOKEN, "no text can start with this character: put it in quotes"},
      {YAML::ErrorMsg::DOC_IN_SCALAR, "a document mark within quotes"},
  };
  auto known = kWords.find(message);
  return known == kWords.end() ? message : known->second;
}

// The quote that made yaml-cpp run into the end of the file: the first behind `from` that has no partner.
std::size_t unclosed_quote(std::string_view text, std::size_t from) {
  for (auto i = from; i < text.size(); ++i) {
    if (text[i] == '#' && i && text[i - 1] == ' ') i = std::min(text.find('\n', i), text.size() - 1);
    bool starts = (text[i] == '"' || text[i] == '\'') && (i == 0 || std::string_view(" \n[{,:").find(text[i - 1]) != std::string_view::npos);
    if (!starts) continue;
    auto end = end_of_quoted(text, i);
    if (end == std::string_view::npos) return i;
    i = end - 1;
  }
  return text.empty() ? 0 : text.size() - 1;
}

}  // namespace

const YamlNode* parse_yaml(const std::string& original, std::deque<YamlNode>& nodes, const YamlReport& report) {
  std::string text = original;
  // JSON (an inventory's output) may be indented with tabs; within its strings they are escaped.
  auto first = text.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && text[first] == '{') std::replace(text.begin(), text.end(), '\t', ' ');
  if (!check_bytes(text, report)) return nullptr;

  Builder builder(text, nodes, report);
  try {
    std::istringstream in(text);
    YAML::Parser parser(in);
    while (parser.HandleNextDocument(builder)) {
    }
  } catch (const Stop&) {
    return nullptr;
  } catch (const YAML::Exception& e) {
    std::size_t pos = e.mark.pos < 0 ? text.size() : std::min<std::size_t>(static_cast<std::size_t>(e.mark.pos), text.size());
    if (builder.ran_on()) return nullptr;
    if (e.msg == YAML::ErrorMsg::EOF_IN_SCALAR) {
      pos = unclosed_quote(text, builder.last_pos());
      report(pos, to_end_of_line(text, pos), "this quote is not closed in its line");
    } else {
      // At the end of the file, show the last line that holds something.
      auto shown = pos;
      while (shown > 0 && (shown >= text.size() || text[shown] == '\n')) --shown;
      report(shown, 1, explain(e.msg));
    }
    return nullptr;
  } catch (const std::exception& e) {
    report(builder.last_pos(), 1, std::string("cannot be read as YAML: ") + e.what());
    return nullptr;
  }
  if (!builder.root()) report(0, 1, "the file is empty");
  return builder.root();
}

}  // namespace ripcord
