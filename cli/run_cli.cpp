#include <fmt/format.h>

#include <cstdlib>

#include "cli/command.hpp"
#include "core/base/text.hpp"

namespace ripcord::cli {
namespace {

void declare_globals(Arguments& a, GlobalOptions& o) {
  a.value("-f,--fleet", o.fleet, "FILE", "the fleet file (else $RIPCORD_FLEET, else ./fleet.yaml)");
  a.value("-o,--output", o.output, "FORMAT", "text, json (one object at the end) or jsonl (one a line, as it happens)");
  a.value("--color", o.color, "WHEN", "auto, always or never (NO_COLOR is heard too)");
  a.flag("-q,--quiet", o.quiet, "no notes, only results and errors");
  a.flag("-h,--help", o.help, "this text");
}

bool set_format(const std::string& word, Output& out) {
  if (word == "text") out.format = Format::text;
  else if (word == "json") out.format = Format::json;
  else if (word == "jsonl") out.format = Format::jsonl;
  else return false;
  return true;
}

void set_color(const GlobalOptions& o, Output& out) {
  if (o.color != "auto" && o.color != "always" && o.color != "never")
    throw Error(fmt::format("--color is auto, always or never, not '{}'", escape_terminal(o.color)), {}, Exit::usage);
  const char* no_color = std::getenv("NO_COLOR");
  const char* term = std::getenv("TERM");
  bool dumb = term && std::string_view(term) == "dumb";
  out.style.color = o.color == "always" || (o.color == "auto" && out.out_tty() && !(no_color && *no_color) && !dumb);
}

bool utf8_terminal() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"})
    if (const char* value = std::getenv(name); value && *value) {
      std::string_view v = value;
      return v.find("UTF-8") != v.npos || v.find("utf8") != v.npos;
    }
  return false;
}

const CommandInfo& find_command(const std::string& word) {
  std::vector<std::string> names;
  for (const auto& c : commands()) {
    if (c.name == word) return c;
    names.push_back(c.name);
  }
  auto near = did_you_mean(word, names);
  throw Error(fmt::format("unknown command '{}'{}", escape_terminal(word), near ? fmt::format(", did you mean '{}'?", *near) : ""),
              "`ripcord help` lists the commands", Exit::usage);
}

// -o is a format; for the commands that write a file it may name that file instead.
void apply_output(const GlobalOptions& o, const CommandInfo& info, Output& out, Context& context) {
  if (set_format(o.output, out)) return;
  if (!info.format.empty() && o.output == info.format) {
    context.special_format = o.output;
    return;
  }
  if (info.writes_file && o.output.find_first_of("./") != std::string::npos) {
    context.output_file = o.output;
    return;
  }
  auto near = did_you_mean(o.output, {"text", "json", "jsonl"});
  std::string formats = info.format.empty() ? "formats are text, json and jsonl" : "formats are text, json, jsonl and " + info.format;
  throw Error(
      fmt::format("unknown output format '{}'{}", escape_terminal(o.output), near ? fmt::format(", did you mean '{}'?", *near) : ""),
      info.writes_file ? formats + "; a file's name needs a '.' or a '/', as in './" + o.output + "'" : formats,
      Exit::usage);
}

Exit dispatch(std::vector<std::string> words, Output& out) {
  GlobalOptions options;
  Arguments globals;
  declare_globals(globals, options);
  // An error about the arguments themselves is still printed as JSON when a script asked for it.
  for (std::size_t i = 0; i + 1 < words.size(); ++i)
    if (words[i] == "-o" || words[i] == "--output") set_format(words[i + 1], out);

  Arguments top = globals;
  top.flag("--version", options.version, "versions");
  auto word = take_command(words, globals);
  if (word.empty()) {
    parse_arguments(words, top, {}, "");
    set_color(options, out);
    if (!options.version) {
      out.print(help_overview(out.style));
      return Exit::done;
    }
    word = "version";
  }
  const auto& info = find_command(word);
  auto command = info.make();
  Arguments own;
  command->declare(own);
  parse_arguments(words, word == "version" ? top : globals, own, word);
  set_color(options, out);
  if (options.help) {
    out.print(help_of(info, own, globals, out.style));
    return Exit::done;
  }
  out.quiet = options.quiet;
  Context context(options, out);
  apply_output(options, info, out, context);
  require_positionals(own, word);
  return command->run(context);
}

}  // namespace

int run_cli(std::vector<std::string> words, Streams streams) {
  Output out(streams);
  out.style.unicode = utf8_terminal();
  try {
    return static_cast<int>(dispatch(std::move(words), out));
  } catch (const Error& e) {
    out.error(e);
    return static_cast<int>(e.exit());
  } catch (const std::bad_alloc&) {
    out.error(Error("out of memory"));
  } catch (const std::exception& e) {
    out.error(Error(fmt::format("unexpected: {}", e.what()), "this is a bug in ripcord; the ledger and the hosts know what was done"));
  }
  return static_cast<int>(Exit::error);
}

}  // namespace ripcord::cli
