#include "cli/args.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>

#include "core/base/error.hpp"
#include "core/base/text.hpp"

namespace ripcord::cli {
namespace {

Error usage_error(std::string what, const std::string& command) {
  return Error(std::move(what),
               command.empty() ? "`ripcord help` lists the commands" : fmt::format("`ripcord help {}` lists its options", command),
               Exit::usage);
}

void declare(CLI::App& app, const Arguments::Declaration& d) {
  const auto& name = d.names.empty() ? d.placeholder : d.names;
  CLI::Option* made = nullptr;
  if (auto* flag = std::get_if<bool*>(&d.to))
    made = app.add_flag(name, **flag, d.help)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  if (auto* text = std::get_if<std::string*>(&d.to)) made = app.add_option(name, **text, d.help)->take_last();
  if (auto* maybe = std::get_if<std::optional<std::string>*>(&d.to)) {
    auto* target = *maybe;
    std::function<void(const std::string&)> set = [target](const std::string& v) { *target = v; };
    made = app.add_option_function(name, set, d.help)->take_last();
  }
  if (auto* list = std::get_if<std::vector<std::string>*>(&d.to)) made = app.add_option(name, **list, d.help);
  // "-m ''" is a value; CLI11 would otherwise count a repeated positional as a value of the one before
  if (made && d.names.empty() && !std::holds_alternative<std::vector<std::string>*>(d.to)) made->expected(1);
}

bool is_option(const std::string& word) { return word.size() > 1 && word[0] == '-'; }

}  // namespace

std::vector<std::string> Arguments::option_names() const {
  std::vector<std::string> names;
  for (const auto& d : all_)
    if (!d.names.empty())
      for (auto& n : split(d.names, ',')) names.push_back(n);
  return names;
}

std::string take_command(std::vector<std::string>& words, const Arguments& globals) {
  for (auto word = words.begin(); word != words.end(); ++word) {
    if (*word == "--") return {};
    if (!is_option(*word)) {
      std::string command = *word;
      words.erase(word);
      return command;
    }
    for (const auto& d : globals.all()) {
      auto names = split(d.names, ',');
      if (d.takes_value() && std::find(names.begin(), names.end(), *word) != names.end() && std::next(word) != words.end()) {
        ++word;
        break;
      }
    }
  }
  return {};
}

void parse_arguments(std::vector<std::string> words, const Arguments& globals, const Arguments& own, const std::string& command) {
  CLI::App app("ripcord", "ripcord");
  app.set_help_flag();
  app.allow_extras();
  for (const auto& d : globals.all()) declare(app, d);
  for (const auto& d : own.all()) declare(app, d);
  std::reverse(words.begin(), words.end());  // CLI11 takes a stack
  try {
    app.parse(words);
  } catch (const CLI::ParseError& e) {
    throw usage_error(e.what(), command);
  }
  auto left = app.remaining();
  for (const auto& word : left) {
    if (!is_option(word)) continue;
    auto name = word.substr(0, word.find('='));
    auto names = globals.option_names();
    for (auto& n : own.option_names()) names.push_back(n);
    names.erase(std::remove_if(names.begin(), names.end(), [](const auto& n) { return n.size() < 3; }), names.end());
    auto near = did_you_mean(name, names);
    throw usage_error(fmt::format("unknown option '{}'{}", escape_terminal(name), near ? fmt::format(", did you mean '{}'?", *near) : ""),
                      command);
  }
  if (!left.empty()) throw usage_error(fmt::format("unexpected argument '{}'", escape_terminal(left[0])), command);
}

void require_positionals(const Arguments& own, const std::string& command) {
  for (const auto& d : own.all())
    if (d.required && std::get<std::string*>(d.to)->empty()) throw usage_error(fmt::format("{} is missing", d.placeholder), command);
}

}  // namespace ripcord::cli
