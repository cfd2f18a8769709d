#include "cli/output.hpp"

#include <fmt/format.h>

#include <iostream>

#include "core/base/text.hpp"

namespace ripcord::cli {

std::string json_line(std::string_view serialized) {
  std::string out;
  out.reserve(serialized.size());
  for (std::size_t i = 0; i < serialized.size();) {
    auto b = static_cast<unsigned char>(serialized[i]);
    std::size_t n = b < 0x80 ? 1 : b < 0xE0 ? 2 : b < 0xF0 ? 3 : 4;
    auto part = serialized.substr(i, n);
    if (!is_utf8(part)) {
      out += "\\ufffd";
      ++i;
      continue;
    }
    i += part.size();
    auto escaped = escape_terminal(part);
    if (b >= 0x20 && (b < 0x7F || escaped == part)) {
      out += part;
    } else if (b == 0x7F) {
      out += "\\u007f";
    } else if (b < 0x80) {
      out += ' ';  // serialized JSON has no raw control characters but blanks between tokens
    } else if (part.size() == 2) {
      out += fmt::format("\\u{:04x}", (b & 0x1F) << 6 | (static_cast<unsigned char>(part[1]) & 0x3F));
    } else if (part.size() == 3) {
      out += fmt::format(
          "\\u{:04x}", (b & 0x0F) << 12 | (static_cast<unsigned char>(part[1]) & 0x3F) << 6 | (static_cast<unsigned char>(part[2]) & 0x3F));
    } else {
      out += "\\ufffd";
    }
  }
  return out;
}

std::string json_line(const json::value& value) { return json_line(json::serialize(value)); }

void Output::print(std::string_view line) {
  streams_.out << line << '\n';
  streams_.out.flush();
}

void Output::version_line() {
  if (versioned_ || format != Format::jsonl) return;
  versioned_ = true;
  print(fmt::format("{{\"ripcord\":\"{}\",\"format\":1}}", RIPCORD_VERSION));
}

void Output::print_json(const json::value& value) {
  version_line();
  print(json_line(value));
}

void Output::print_list(std::string_view name, const json::array& items) {
  version_line();
  if (format == Format::jsonl) {
    for (const auto& item : items) print(json_line(item));
    return;
  }
  json::object o;
  o[name] = items;
  print(json_line(json::value(std::move(o))));
}

void Output::note(std::string_view text) {
  if (!quiet) streams_.err << escape_terminal(text, true) << '\n' << std::flush;
}

void Output::hint(std::string_view text) { streams_.err << "  hint: " << escape_terminal(text, true) << '\n' << std::flush; }

void Output::warn(std::string_view text) { streams_.err << "ripcord: warning: " << escape_terminal(text, true) << '\n' << std::flush; }

void Output::error(const Error& e) {
  // Only files have errors of several lines (place, source line, caret); from a host a line feed is an attempt at a second message.
  bool lines = e.exit() == Exit::invalid_file;
  streams_.err << "ripcord: error: " << escape_terminal(e.what(), lines) << '\n';
  if (!e.hint().empty())
    for (const auto& line : split(e.hint(), '\n')) hint(line);
  streams_.err << std::flush;
  if (format == Format::text) return;
  print_json(json::object{{"error", json::object{{"what", e.what()}, {"hint", e.hint()}, {"exit", static_cast<int>(e.exit())}}}});
}

std::string Output::ask(std::string_view question) {
  streams_.err << escape_terminal(question) << std::flush;
  std::string answer;
  std::getline(streams_.in, answer);
  return std::string(trim(answer));
}

}  // namespace ripcord::cli
