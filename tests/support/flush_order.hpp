// Watches a program's calls and tells where it relies on luck: whatever a file system may put off until it is asked to flush is taken
// to be put off. Stricter than any disk image, in which one flush takes others along.
//
//   a file gets its name            after its bytes are durable; a folder after everything in it
//   the journal is written          after what its record tells of is durable, files and names
//   `current` is moved or removed   after the journal and the way back are durable
//   the controller is told          after everything is durable
#pragma once
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "tests/support/step_trace.hpp"

namespace ripcord::test {

class FlushOrder {
 public:
  // `below`: the folder that is watched. `matters`: names in it, by their paths, whose loss would matter; nothing else is looked at.
  FlushOrder(std::string below, std::function<bool(const std::string& path)> matters);

  static const std::vector<std::string>& calls();  // those that step_trace is to stop at
  void see(const CallStop& stop);
  const std::vector<std::string>& wrong() const { return wrong_; }
  int journal_writes = 0, moves = 0, told = 0, flushes = 0;   // what was seen: a run without them proves nothing

 private:
  bool watched(const std::string& path) const;
  void name_changes(const std::string& path);
  void wrote(const std::string& path);
  void moved(const std::string& from, const std::string& to);
  void flushed(const std::string& path);
  // One of them, in words, "" when there is none: at or below a path, or anywhere but in what is being staged, which nobody relies on
  // before it has its name.
  std::string unflushed(const std::string& below = "", const std::string& but = "") const;
  void before(const CallStop& stop);
  void after(const CallStop& stop);
  void say(const CallStop& stop, const std::string& what);

  std::string below_;
  std::function<bool(const std::string&)> matters_;
  std::set<std::string> bytes_;                          // files written to and not flushed
  std::map<std::string, std::set<std::string>> names_;   // by folder: what was made, moved or removed in it since it was flushed
  std::vector<std::string> wrong_;
  bool fresh_ = false;                                   // the call that is under way would make the file
};

}  // namespace ripcord::test
