#include <fmt/format.h>

#include "cli/command.hpp"
#include "core/base/text.hpp"

namespace ripcord::cli {
namespace {

class Help : public Command {
 public:
  void declare(Arguments& a) override { a.positional("COMMAND", about_, "the command to tell about"); }

  Exit run(Context& c) override {
    if (!about_) {
      c.out().print(help_overview(c.out().style));
      return Exit::done;
    }
    std::vector<std::string> names;
    for (const auto& info : commands()) {
      names.push_back(info.name);
      if (info.name != *about_) continue;
      Arguments own;
      auto command = info.make();
      command->declare(own);
      c.out().print(help_of(info, own, {}, c.out().style));
      return Exit::done;
    }
    auto near = did_you_mean(*about_, names);
    throw Error(fmt::format("unknown command '{}'{}", escape_terminal(*about_), near ? fmt::format(", did you mean '{}'?", *near) : ""),
                "`ripcord help` lists the commands", Exit::usage);
  }

 private:
  std::optional<std::string> about_;
};

class Version : public Command {
 public:
  void declare(Arguments&) override {}

  Exit run(Context& c) override {
    std::string path, digest;
    try {
      auto program = find_host_program();
      path = program.path;
      digest = program.digest.hex();
    } catch (const Error& e) {
      c.out().warn(e.what());
    }
    if (!c.out().text()) {
      c.out().print_json(
          json::object{{"ripcord", RIPCORD_VERSION}, {"protocol", kProtocol}, {"host_program", path}, {"host_program_digest", digest}});
      return Exit::done;
    }
    c.out().print("ripcord " RIPCORD_VERSION);
    if (!path.empty()) c.out().print(escape_terminal(fmt::format("ripcord-host {} ({})", digest.substr(0, 12), path)));
    return Exit::done;
  }
};

}  // namespace

std::unique_ptr<Command> make_help() { return std::make_unique<Help>(); }
std::unique_ptr<Command> make_version() { return std::make_unique<Version>(); }

}  // namespace ripcord::cli
