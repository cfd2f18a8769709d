// Where words go: stdout is data, stderr is for people. Everything that may hold bytes from a host or a file passes
// escape_terminal on its way out (promise 18), and JSON is printed with every invisible character as \uXXXX.
#pragma once
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "cli/view/style.hpp"
#include "core/base/error.hpp"
#include "core/base/json.hpp"

namespace ripcord::cli {

enum class Format { text, json, jsonl };

struct Streams {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool in_tty = false, out_tty = false, err_tty = false;
};

class Output {
 public:
  explicit Output(Streams streams) : streams_(streams) {}
  Format format = Format::text;
  Style style;  // of stdout
  bool quiet = false;
  std::string program = "ripcord";  // as a person would type it here, -f included

  bool text() const { return format == Format::text; }
  bool out_tty() const { return streams_.out_tty; }
  bool can_ask() const { return streams_.in_tty && streams_.err_tty; }
  std::ostream& raw() { return streams_.out; }

  // Data. The text of print() is escaped but for newlines and colours that style made (print only what Line rendered, or plain words).
  void print(std::string_view line);
  void print_json(const json::value& value);  // one line; under jsonl behind the version line
  // A list: json gives {name: [...]}, jsonl the version line and one line an item.
  void print_list(std::string_view name, const json::array& items);
  void version_line();  // {"ripcord":"0.1.0","format":1}, once

  void note(std::string_view text);            // people's notes on stderr; not with -q
  void hint(std::string_view text);            // "  hint: …"
  void warn(std::string_view text);            // also with -q
  void error(const Error& e);                  // stderr, and {"error":{…}} on stdout when it is JSON
  std::string ask(std::string_view question);  // one line from the terminal; "" at its end

 private:
  Streams streams_;
  bool versioned_ = false;
};

// One line of JSON that is safe on a terminal.
std::string json_line(const json::value& value);
std::string json_line(std::string_view serialized);

}  // namespace ripcord::cli
