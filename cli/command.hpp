// One command: what it accepts and what it does. The table of all of them is in commands.cpp.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "cli/args.hpp"
#include "cli/context.hpp"

namespace ripcord::cli {

class Command {
 public:
  virtual ~Command() = default;
  virtual void declare(Arguments& arguments) = 0;
  virtual Exit run(Context& context) = 0;
};

struct CommandInfo {
  enum class Group { everyday, steering, looking, setting_up };
  std::string name;
  Group group;
  std::string usage;    // behind the name: "TARGET [options]"
  std::string summary;  // one line of help
  std::string details;  // `ripcord help NAME`
  std::unique_ptr<Command> (*make)();
  bool writes_file = false;  // -o may name a file
  std::string format{};      // one that only this command has, for -o
};

const std::vector<CommandInfo>& commands();
std::string help_overview(const Style& style);
std::string help_of(const CommandInfo& info, const Arguments& own, const Arguments& globals, const Style& style);

std::unique_ptr<Command> make_init();
std::unique_ptr<Command> make_validate();
std::unique_ptr<Command> make_hosts();
std::unique_ptr<Command> make_doctor();
std::unique_ptr<Command> make_drift();
std::unique_ptr<Command> make_seal();
std::unique_ptr<Command> make_plan();
std::unique_ptr<Command> make_show();
std::unique_ptr<Command> make_apply();
std::unique_ptr<Command> make_rollback();
std::unique_ptr<Command> make_drill();
std::unique_ptr<Command> make_status();
std::unique_ptr<Command> make_pause();
std::unique_ptr<Command> make_resume();
std::unique_ptr<Command> make_promote();
std::unique_ptr<Command> make_approve();
std::unique_ptr<Command> make_abort();
std::unique_ptr<Command> make_retry();
std::unique_ptr<Command> make_adopt();
std::unique_ptr<Command> make_trust();
std::unique_ptr<Command> make_converge();
std::unique_ptr<Command> make_quarantine();
std::unique_ptr<Command> make_halt();
std::unique_ptr<Command> make_unhalt();
std::unique_ptr<Command> make_prune();
std::unique_ptr<Command> make_history();
std::unique_ptr<Command> make_logs();
std::unique_ptr<Command> make_reconcile();
std::unique_ptr<Command> make_version();
std::unique_ptr<Command> make_help();

// The whole program but for main's streams: never throws, gives the exit code.
int run_cli(std::vector<std::string> words, Streams streams);

}  // namespace ripcord::cli
