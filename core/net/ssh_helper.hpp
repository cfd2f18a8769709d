// Starting our program on a host over a session, and bringing it there when it is missing.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/net/bootstrap.hpp"
#include "core/net/ssh_session.hpp"

namespace ripcord {

struct StartedHelper {
  std::shared_ptr<SshExec> exec;
  std::string rest;              // what came behind the preamble
  bool pushed = false;
};

class SshHelpers {
 public:
  SshHelpers(Clock& clock, std::vector<Program> programs, Millis start_timeout, Millis stall);
  // Starts `serve` and returns when the preamble was answered; pushes the program at most once. `first` travels behind the
  // preamble. LinkError.
  Task<StartedHelper> start(std::shared_ptr<SshSession> session, HelperPlace place, std::string first);

 private:
  struct Attempt {
    bool answered = false;
    StartedHelper helper;
    int status = -1;
    std::string output, errors;  // of what ran instead
  };
  Task<Attempt> serve(std::shared_ptr<SshSession> session, HelperPlace place, Digest program, std::string first);
  Task<> push(std::shared_ptr<SshSession> session, HelperPlace place, ProgramImage* image);
  Task<std::string> ask_arch(std::shared_ptr<SshSession> session);
  ProgramImage* for_arch(const std::string& who, const std::string& arch);

  Clock& clock_;
  std::vector<std::unique_ptr<ProgramImage>> images_;
  std::map<std::string, ProgramImage*> by_host_;  // hosts of another architecture than the first program's
  Millis start_timeout_, stall_;
};

}  // namespace ripcord
