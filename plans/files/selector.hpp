// Which hosts: "all", "role=web", "role=web,datacenter!=ams", "role in (web, api)", "gpu", "!gpu", host globs "web-*", and
// alternatives with "|": "role=web,datacenter!=ams | web-00". A word is a label's name or a host's ("web-01", "h01");
// "!web-*" leaves hosts out. A label that a host lacks differs from every value.
// Every host has the labels host and datacenter besides its own.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "manifests/shared/unit_spec.hpp"

namespace ripcord {

class Selector {
 public:
  static Selector parse(const std::string& text);  // Error(Exit::invalid_file) naming the part that is wrong
  bool matches(const Labels& labels) const;
  const std::string& text() const { return text_; }

 private:
  enum class Test { equals, differs, in, not_in, has, lacks, glob, not_glob };
  struct Term {
    Test test;
    std::string key;
    std::vector<std::string> values;
  };
  std::string text_;
  std::vector<std::vector<Term>> any_of_;  // outer: or, inner: and; empty: all
};

}  // namespace ripcord
