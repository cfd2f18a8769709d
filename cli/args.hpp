// What a command accepts, declared as data, and the one place that parses argv (CLI11 is included in args.cpp only).
// A repeated option takes its last value; flags may be repeated; options may stand before or after the command.
#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace ripcord::cli {

class Arguments {
 public:
  // names: "-m,--message". The target is written by parse(); it must outlive it.
  void flag(std::string names, bool& to, std::string help) { add({std::move(names), "", std::move(help), &to}); }
  void value(std::string names, std::string& to, std::string placeholder, std::string help) {
    add({std::move(names), std::move(placeholder), std::move(help), &to});
  }
  void value(std::string names, std::optional<std::string>& to, std::string placeholder, std::string help) {
    add({std::move(names), std::move(placeholder), std::move(help), &to});
  }
  void positional(std::string name, std::string& to, std::string help) { add({"", std::move(name), std::move(help), &to, true}); }
  void positional(std::string name, std::optional<std::string>& to, std::string help) { add({"", std::move(name), std::move(help), &to}); }
  void positionals(std::string name, std::vector<std::string>& to, std::string help) { add({"", std::move(name), std::move(help), &to}); }

  struct Declaration {
    std::string names, placeholder, help;  // names empty: positional
    std::variant<bool*, std::string*, std::optional<std::string>*, std::vector<std::string>*> to;
    bool required = false;
    bool takes_value() const { return !std::holds_alternative<bool*>(to); }
  };
  const std::vector<Declaration>& all() const { return all_; }
  std::vector<std::string> option_names() const;  // "-m", "--message", …

 private:
  void add(Declaration d) { all_.push_back(std::move(d)); }
  std::vector<Declaration> all_;
};

// The command word of an argument list (without the program's name), taken out of it; "" when there is none.
std::string take_command(std::vector<std::string>& words, const Arguments& globals);

// Parses the rest. Error(Exit::usage) with a suggestion; `command` names it in messages. Required positionals are checked by
// require_positionals, so that --help is heard first.
void parse_arguments(std::vector<std::string> words, const Arguments& globals, const Arguments& own, const std::string& command);
void require_positionals(const Arguments& own, const std::string& command);

}  // namespace ripcord::cli
