// YAML, read strictly: one decoder for every file a person writes. yaml-cpp accepts duplicate keys, a second document,
// anchors, `012` as ten and `yes` as true; none of that passes here. All errors of a file are collected and thrown at once,
// each as
//     fleet.yaml:7:5: unknown key 'datacentres', did you mean 'datacenters'?
//        7 |     datacentres:
//          |     ^~~~~~~~~~~
// Columns count code points from 1. Scalars are their source text: a number is what this file says it is, quoted or not is kept.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/error.hpp"
#include "core/base/text.hpp"

namespace ripcord {

struct YamlPlace {
  int line = 0, column = 0;  // from 1
};

class YamlFile;
struct YamlNode;  // core/net/yaml_tree.hpp

inline constexpr std::size_t kMaxYaml = 4u << 20;  // bytes of a file that a person writes

// A node of a decoded file. Cheap to copy; valid while its YamlFile lives. Accessors report mistakes to the file (they do not
// throw) and return a neutral value, so that a decoder goes on and finds the next mistake; YamlFile::finish() throws them all.
// On an absent node they are silent: whoever needed it has said so.
class Yaml {
 public:
  Yaml() = default;  // absent
  explicit operator bool() const { return node_ != nullptr; }
  bool is_map() const;
  bool is_list() const;
  bool is_scalar() const;
  bool is_null() const;  // `key:` with nothing behind it
  YamlPlace place() const;

  // map: a member (absent node if it is not there), noted as known. close() reports every key never asked for, with a suggestion.
  Yaml get(std::string_view key) const;
  Yaml require(std::string_view key) const;       // reports "missing key '...'"
  void close() const;
  std::vector<std::pair<std::string, Yaml>> members() const;  // every member, in file order; counts as asked for
  YamlPlace key_place(std::string_view key) const;
  // list, or one scalar where `allow_single`
  std::vector<Yaml> items(bool allow_single = false) const;

  std::string string() const;                      // non-empty
  std::string string_or(std::string fallback) const;
  std::int64_t integer(std::int64_t min, std::int64_t max) const;  // decimal, no leading zero
  bool boolean() const;                            // true | false only
  Millis duration() const;                         // with a unit
  std::uint64_t size() const;
  unsigned mode() const;                           // octal: "0644" or 0644
  std::vector<std::string> strings(bool allow_single = false) const;
  std::string one_of(const std::vector<std::string>& words) const;  // with a suggestion
  bool was_quoted() const;

  void error(std::string message) const;           // at this node
  void error_at_key(std::string_view key, std::string message) const;

 private:
  friend class YamlFile;
  Yaml(const YamlNode* node, YamlFile* file) : node_(node), file_(file) {}
  bool expect(bool is_kind, std::string_view kind) const;
  bool scalar(std::string_view expected) const;
  const YamlNode* node_ = nullptr;
  YamlFile* file_ = nullptr;
};

class YamlFile {
 public:
  // `name` as in error messages. Reports syntax errors like others (finish() throws them).
  YamlFile(std::string name, std::string text, std::size_t limit = kMaxYaml);
  static YamlFile load(const std::string& path);  // Error when it cannot be read
  ~YamlFile();
  YamlFile(YamlFile&&) noexcept;
  Yaml root();  // absent when the syntax is broken. Do not move the file while nodes of it are in use.
  // Line 0: the message stands alone (a mistake that lies in another file).
  void report(YamlPlace place, std::size_t width, std::string message);
  bool failed() const;
  void finish();  // throws Error(Exit::invalid_file) with every mistake, in line order, when there is one

 private:
  friend class Yaml;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ripcord
