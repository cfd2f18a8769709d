// What a YAML file holds, as nodes with their places, and the strict reading of it. Internal to core/net/yaml.
#pragma once
#include <cstddef>
#include <deque>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ripcord {

struct YamlNode {
  enum class Kind { null, scalar, list, map, bad };  // bad: reported already (an alias, a merge key); stay silent about it
  struct Member {
    const YamlNode* key;
    const YamlNode* value;
  };
  Kind kind = Kind::null;
  std::string text;             // scalar
  bool quoted = false;
  std::size_t pos = 0;          // byte offset in the file
  std::size_t length = 1;       // bytes to underline
  std::vector<Member> members;  // map, in file order, no key twice
  std::vector<const YamlNode*> items;
  mutable std::set<std::string, std::less<>> asked;  // keys a decoder has asked for
  mutable bool asked_all = false;
  mutable std::unordered_map<std::string_view, std::size_t> index;  // of members, made when first needed

  const Member* find(std::string_view key) const;
};

// Byte offset, bytes to underline, message.
using YamlReport = std::function<void(std::size_t pos, std::size_t length, std::string message)>;

// Reads one document into `nodes` (stable addresses) and returns its root, or null when nothing can be made of it; every mistake
// is reported. Refused: bytes that are not UTF-8, control and invisible characters, tabs, directives, a second document, anchors,
// aliases, tags, merge keys, duplicate keys, text that goes on over several lines, more than 32 levels.
const YamlNode* parse_yaml(const std::string& text, std::deque<YamlNode>& nodes, const YamlReport& report);

}  // namespace ripcord
