#include "cli/command.hpp"

#include <fmt/format.h>

#include "core/base/text.hpp"

namespace ripcord::cli {

const std::vector<CommandInfo>& commands() {
  using G = CommandInfo::Group;
  static const std::vector<CommandInfo> all{
      {"plan", G::everyday, "TARGET [options]", "what apply would do: stages, changes, time, ways back",
       "TARGET is a unit (its newest sealed version), UNIT@VERSION, a unit folder or a release file.\n"
       "Nothing is changed. --save FILE (or -o FILE) keeps the plan; `ripcord apply FILE` does just that, and refuses when a host\n"
       "changed since.",
       make_plan, true},
      {"apply", G::everyday, "TARGET [options]", "roll a release out, stage by stage",
       "TARGET is a unit (its newest sealed version), UNIT@VERSION, a unit folder (sealed first), a release file made by\n"
       "`seal -o FILE`, or a saved plan made by `plan --save FILE`. Ctrl-C pauses cleanly; `ripcord resume UNIT` goes on.",
       make_apply},
      {"status", G::everyday, "[UNIT] [-w]", "how the rollout stands, and what to do next", "Exits with the code of the rollout.",
       make_status},
      {"history", G::everyday, "[UNIT] [--all]", "who rolled out what, when, and how it ended", "", make_history},
      {"rollback", G::everyday, "UNIT [--to VERSION] [options]", "pull the cord: back to what ran before",
       "Works without the ledger: hosts know their own history. Without --to it undoes the newest forward rollout that any reachable\n"
       "host knows; a second call changes nothing. Every host of the unit is fenced, so a rollout that runs elsewhere ends. A release\n"
       "that a host lacks or holds damaged is brought from wherever it is whole; when nobody has it, that is said before anything is\n"
       "touched (exit 8).",
       make_rollback},

      {"pause", G::steering, "UNIT [-m WHY]", "start no further activation", "", make_pause},
      {"resume", G::steering, "[UNIT] [--due] [-m WHY]", "go on with a paused or interrupted rollout",
       "--due goes on with every rollout whose bake is over, for a timer; those that wait for a person are left alone.", make_resume},
      {"promote", G::steering, "UNIT [-m WHY]", "end the bake of the current stage now", "", make_promote},
      {"approve", G::steering, "UNIT [-m WHY]", "let the stage that waits for approval start", "", make_approve},
      {"abort", G::steering, "UNIT [-m WHY]", "stop, and bring every touched host back", "", make_abort},
      {"retry", G::steering, "UNIT [HOST...] [-m WHY]", "try hosts again that failed or did not answer", "", make_retry},
      {"converge", G::steering, "[HOST|SELECTOR...] [--unit UNIT] [--dry-run] -m WHY", "bring hosts that are owed to what the others run",
       "Hosts that a rollout missed, that joined, stand in for another, were installed again or came back get the unit's stable release: that\n"
       "of the last rollout that completed, or where a rip cord left it. Verified, staged, armed, watched and confirmed as in a rollout; what it\n"
       "replaced is staged there first, and a rip cord takes them where it takes the others. Needs no store: hosts have the release.\n"
       "A host that runs what nobody recorded is named and left alone. Nothing owed: exit 0.",
       make_converge},
      {"quarantine", G::steering, "[HOST...] --reason TEXT --owner WHO --until WHEN | HOST... --lift", "leave hosts out of rollouts until a day",
       "For hosts in maintenance. Rollouts leave them out by name; they count neither as unreachable nor as owed, and `drift` reports nothing\n"
       "of them. When the time has passed they are owed what they missed. A rollback reaches for them all the same.",
       make_quarantine},
      {"halt", G::steering, "[-m WHY]", "the big red switch: no host activates anything new until unhalt",
       "Needs no ledger, no lease, and no rollout process that listens. Hosts that did not acknowledge are named (exit 4). rollback, abort\n"
       "and the dead-man switch work all the same. A rollout that was stopped goes on by `resume` only.",
       make_halt},
      {"unhalt", G::steering, "-m WHY", "lift the halt", "", make_unhalt},

      {"drill", G::steering, "rollback|deadman|report [UNIT] [options]", "walk the way back on live hosts, one at a time",
       "`drill rollback UNIT` takes hosts back to the release before and forward again, verified each time; `drill deadman UNIT` also leaves\n"
       "one step forward unconfirmed, and the host has to go back by itself. Every host ends on the release it runs now.\n"
       "--hosts N --per LABEL chooses N hosts for each value (default: 1 for each datacenter), those walked longest ago first.\n"
       "In working hours only, unless --outside-window -m WHY. `drill report` says when each datacenter's way back was last walked.",
       make_drill},

      {"hosts", G::looking, "[replace OLD NEW | retire HOST | readmit HOST] [options]", "every host: what it runs, and whether it answers",
       "`hosts retire HOST -m WHY`: it is gone for good, and nothing is owed to it. `hosts replace OLD NEW -m WHY`: NEW is owed what OLD had.\n"
       "`hosts readmit HOST -m WHY` takes either back. Host keys are another matter: `trust add`.",
       make_hosts},
      {"show", G::looking, "UNIT[@VERSION] | HOST | ROLLOUT", "one release, host or rollout in detail", "", make_show},
      {"logs", G::looking, "UNIT [HOST]", "output kept of the steps that failed", "", make_logs},
      {"drift", G::looking, "[repair [ID|HOST...] | accept ID...] [options]", "which hosts are no longer what the ledger says, and why",
       "Reads only. Silent with exit 0 when all is well; else the findings, and exit 2 (drift), 4 (hosts did not answer or are owed) or\n"
       "9 (trust). `drift repair` brings hosts back: staged, verified, health-checked and armed as in a rollout. -o nagios prints one line with a plugin's exit codes. For cron: docs/drift.md.",
       make_drift, false, "nagios"},
      {"doctor", G::looking, "[--limit SELECTOR] [--rollback]", "check this machine and every host, with the cure",
       "--rollback: could this machine pull the cord now? Reads every way back to its last byte, and asks nothing of the ledger.", make_doctor},

      {"prune", G::looking, "UNIT [--dry-run] [-y]", "mark retired releases, remove what was marked before",
       "Retired releases stay two weeks, and the last five; what is current, what a rollback, a dead-man switch or an open rollout\n"
       "could still need, and what a process runs from stays whatever its age. What is marked goes with a prune a day later or more.\n"
       "So do what damaged releases left behind, and host programs that nothing runs.",
       make_prune},

      {"reconcile", G::setting_up, "[UNIT] [--dry-run] [-m WHY]", "bring back from the hosts what the ledger lost",
       "For a ledger that was restored from an older copy, or whose database server was replaced by one that lacked the newest\n"
       "entries: `apply` and `resume` refuse then, because hosts did operations that the ledger does not know. Their journals are\n"
       "brought in, each record once; an open rollout is paused, and `resume` asks the hosts what came of it.",
       make_reconcile},

      {"init", G::setting_up, "[FOLDER]", "make a working example fleet, unit and plan", "Never overwrites anything.", make_init},
      {"validate", G::setting_up, "[FILE|FOLDER...]", "check fleet, unit and plan files",
       "Without arguments: the fleet file and all below its folder.", make_validate},
      {"seal", G::setting_up, "FOLDER [--key KEY] [-o FILE]", "make a release of a unit folder",
       "--key signs it (a private key, or a public key whose private half is in ssh-agent). --out FILE (or -o FILE) also writes the\n"
       "release as one file, for `ripcord apply FILE` elsewhere.",
       make_seal, true},
      {"trust", G::setting_up, "add HOST [--fingerprint SHA256:…] [--replace] [-m WHY]", "believe the key that a host shows, once it was compared",
       "Fetches the key without logging in, shows its fingerprint, and asks; without a terminal --fingerprint must match (exit 8 without it, 9\n"
       "when it is another one). Added to the fleet's known_hosts and recorded in the ledger. A key that is known otherwise is only replaced\n"
       "with --replace.",
       make_trust},
      {"adopt", G::setting_up, "UNIT [HOST...] -m WHY", "take hosts over that belong to another ledger",
       "A host's unit belongs to the ledger that first deployed it. Forward work of another one is refused, naming the first one's machine,\n"
       "until it adopts the host; whoever deploys from there is fenced off.",
       make_adopt},
      {"version", G::setting_up, "", "versions of ripcord and of the host program", "", make_version},
      {"help", G::setting_up, "[COMMAND]", "this text, or all about one command", "", make_help},
  };
  return all;
}

std::string help_overview(const Style& style) {
  std::string out =
      style.paint(Tone::bold, "ripcord") + " rolls a sealed release through a fleet in stages, and can always pull it back.\n\n";
  out += "usage: ripcord [-f FLEET] [-o text|json|jsonl] [-q] COMMAND ...\n";
  const std::pair<CommandInfo::Group, const char*> groups[] = {{CommandInfo::Group::everyday, "Everyday"},
                                                               {CommandInfo::Group::steering, "Steering a rollout"},
                                                               {CommandInfo::Group::looking, "Looking closer"},
                                                               {CommandInfo::Group::setting_up, "Setting up"}};
  for (const auto& [group, title] : groups) {
    out += "\n" + style.paint(Tone::bold, title) + "\n";
    for (const auto& c : commands())
      if (c.group == group) out += fmt::format("   {:<10} {}\n", c.name, c.summary);
  }
  return out + "\n`ripcord help COMMAND` tells more. First time here: `ripcord init demo`.";
}

std::string help_of(const CommandInfo& info, const Arguments& own, const Arguments& globals, const Style& style) {
  std::string out = fmt::format("{} - {}\n\nusage: ripcord {}{}{}\n", style.paint(Tone::bold, info.name), info.summary, info.name,
                                info.usage.empty() ? "" : " ", info.usage);
  if (!info.details.empty()) out += "\n" + info.details + "\n";
  auto table = [&](const char* title, const Arguments& arguments) {
    if (arguments.all().empty()) return;
    out += "\n" + style.paint(Tone::bold, title) + "\n";
    for (const auto& d : arguments.all()) {
      auto name = d.names.empty() ? d.placeholder : join(split(d.names, ','), ", ") + (d.placeholder.empty() ? "" : " " + d.placeholder);
      out += fmt::format("   {:<28} {}\n", name, d.help);
    }
  };
  table("Arguments", own);
  table("Everywhere", globals);
  out.pop_back();
  return out;
}

}  // namespace ripcord::cli
