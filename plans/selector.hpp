// Which hosts: "all", "role=web", "role=web,datacenter!=ams", "role in (web, api)", "gpu", "!gpu", host globs "web-*", and
// alternatives with "|". Every host has the labels host and datacenter besides its own.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "manifests/shared/unit_spec.hpp"

namespace ripcord {

class Selector {
 public:
  static Selector parse(const std::string& text);  // Error naming the part that is wrong
  bool matches(const Labels& labels) const;
  const std::string& text() const { return text_; }

 private:
  enum class Test { equals, differs, in, not_in, has, lacks, glob };
  struct Term {
    Test test;
    std::string key;
    std::vector<std::string> values;
  };
  std::string text_;
  std::vector<std::vector<Term>> any_of_;  // outer: or, inner: and; empty: all
};

}  // namespace ripcord
