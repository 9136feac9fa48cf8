#include "common/config/config_loader.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/text_format.h>

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/status_macros.h"
#include "common/config/flag_set.h"

namespace cssp {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::TextFormat;

constexpr size_t kMaxFileBytes = 1 << 20;

// Keeps the first error: later ones tend to follow from it.
class FirstError final : public google::protobuf::io::ErrorCollector {
 public:
  explicit FirstError(std::string where) : where_(std::move(where)) {}
  void AddError(int line, int column, const std::string& message) override {
    if (text_.empty())
      text_ = line < 0 ? absl::StrCat(where_, ": ", message)
                       : absl::StrCat(where_, ":", line + 1, ":", column + 1,
                                      ": ", message);
  }
  const std::string& text() const { return text_; }

 private:
  const std::string where_;
  std::string text_;
};

std::string FieldNames(const Descriptor& type) {
  std::vector<std::string> names;
  for (int i = 0; i < type.field_count(); ++i)
    names.push_back(type.field(i)->name());
  return absl::StrJoin(names, ", ");
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in)
    return absl::NotFoundError(
        absl::StrCat("config file '", path, "' cannot be read"));
  std::ostringstream text;
  text << in.rdbuf();
  if (text.str().size() > kMaxFileBytes)
    return absl::InvalidArgumentError(
        absl::StrCat("config file '", path, "' is larger than 1 MiB"));
  return text.str();
}

// Notes the line of every field that the file sets.
void NoteFileOrigins(const Message& message, TextFormat::ParseInfoTree* tree,
                     const std::string& file, const std::string& prefix,
                     ConfigOrigins* origins) {
  std::vector<const FieldDescriptor*> fields;
  message.GetReflection()->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string path = absl::StrCat(prefix, field->name());
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
        !field->is_repeated()) {
      TextFormat::ParseInfoTree* nested =
          tree == nullptr ? nullptr : tree->GetTreeForNested(field, -1);
      NoteFileOrigins(message.GetReflection()->GetMessage(message, field),
                      nested, file, absl::StrCat(path, "."), origins);
      continue;
    }
    const int line =
        tree == nullptr
            ? -1
            : tree->GetLocation(field, field->is_repeated() ? 0 : -1).line;
    origins->origin[path] =
        line < 0 ? file : absl::StrCat(file, ":", line + 1);
  }
}

absl::Status MergeFile(const std::string& file, Message* config,
                       ConfigOrigins* origins) {
  ASSIGN_OR_RETURN(const std::string text, ReadFile(file));
  FirstError error(file);
  TextFormat::ParseInfoTree locations;
  TextFormat::Parser parser;
  parser.RecordErrorsTo(&error);
  parser.WriteLocationsTo(&locations);
  std::unique_ptr<Message> parsed(config->New());
  if (!parser.ParseFromString(text, parsed.get()))
    return absl::InvalidArgumentError(error.text());
  NoteFileOrigins(*parsed, &locations, file, "", origins);
  config->MergeFrom(*parsed);
  return absl::OkStatus();
}

// What a variable may have meant: a field of this or another process nearest
// to `name`; `name` itself where another process has it; or empty.
std::string NearestField(const Message& config, const std::string& name) {
  const auto* file = config.GetDescriptor()->file();
  std::vector<std::string> names;
  for (int i = 0; i < file->message_type_count(); ++i)
    for (int j = 0; j < file->message_type(i)->field_count(); ++j)
      names.push_back(file->message_type(i)->field(j)->name());
  return NearestName(name, names);
}

absl::Status MergeVariable(absl::string_view entry, Message* config,
                           ConfigOrigins* origins) {
  absl::string_view rest = entry;
  if (!absl::ConsumePrefix(&rest, "CSSP_")) return absl::OkStatus();
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(rest, absl::MaxSplits('=', 1));
  const std::string path =
      absl::AsciiStrToLower(absl::StrReplaceAll(parts.first, {{"__", "."}}));
  const std::string variable = absl::StrCat("CSSP_", parts.first);
  const std::string top = path.substr(0, path.find('.'));
  if (config->GetDescriptor()->FindFieldByName(top) == nullptr) {
    // Other programs' fields, and what resembles none, are not for us.
    const std::string nearest = NearestField(*config, top);
    if (!nearest.empty() && nearest != top)
      origins->warnings.push_back(
          absl::StrCat("environment variable ", variable,
                       " names no field; did you mean CSSP_",
                       absl::AsciiStrToUpper(nearest), "?"));
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(
      Annotate(SetByPath(path, std::string(parts.second), config),
               absl::StrCat("environment variable ", variable)));
  origins->origin[path] = absl::StrCat("env ", variable);
  return absl::OkStatus();
}

absl::Status MergeOverride(const std::string& text, Message* config,
                           ConfigOrigins* origins) {
  const size_t equals = text.find('=');
  if (equals == std::string::npos)
    return absl::InvalidArgumentError(
        absl::StrCat("--set ", text, ": write it as path=value"));
  const std::string path = text.substr(0, equals);
  RETURN_IF_ERROR(Annotate(SetByPath(path, text.substr(equals + 1), config),
                           absl::StrCat("--set ", text)));
  origins->origin[path] = "--set";
  return absl::OkStatus();
}

void PrintFields(const Message& message, const std::string& prefix,
                 const ConfigOrigins& origins, std::string* out) {
  const Descriptor& type = *message.GetDescriptor();
  for (int i = 0; i < type.field_count(); ++i) {
    const FieldDescriptor* field = type.field(i);
    const std::string path = absl::StrCat(prefix, field->name());
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      if (!field->is_repeated())
        PrintFields(message.GetReflection()->GetMessage(message, field),
                    absl::StrCat(path, "."), origins, out);
      continue;
    }
    std::string value;
    if (!field->is_repeated())
      TextFormat::PrintFieldValueToString(message, field, -1, &value);
    const auto origin = origins.origin.find(path);
    absl::StrAppend(out, path, ": ", value, "  # ",
                    origin == origins.origin.end() ? "default"
                                                   : origin->second,
                    "\n");
  }
}

}  // namespace

absl::Status SetByPath(absl::string_view path, const std::string& value,
                       Message* message) {
  const std::vector<std::string> names = absl::StrSplit(path, '.');
  for (size_t i = 0; i < names.size(); ++i) {
    const Descriptor& type = *message->GetDescriptor();
    const FieldDescriptor* field = type.FindFieldByName(names[i]);
    if (field == nullptr)
      return absl::InvalidArgumentError(
          absl::StrCat("unknown field '", names[i], "' in ", type.name(),
                       "; known are ", FieldNames(type)));
    const bool nested = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (nested != (i + 1 < names.size()) || (nested && field->is_repeated()))
      return absl::InvalidArgumentError(absl::StrCat(
          "'", path, "': '", names[i],
          nested ? "' is a group of fields: name one of them as "
                 : "' is a single field of ",
          nested ? absl::StrCat(names[i], ".FIELD") : type.name()));
    if (nested) {
      message = message->GetReflection()->MutableMessage(message, field);
      continue;
    }
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      if (field->is_repeated())
        message->GetReflection()->AddString(message, field, value);
      else
        message->GetReflection()->SetString(message, field, value);
      return absl::OkStatus();
    }
    if (!field->is_repeated())
      message->GetReflection()->ClearField(message, field);
    FirstError error(names[i]);
    TextFormat::Parser parser;
    parser.RecordErrorsTo(&error);
    if (!parser.ParseFieldValueFromString(value, field, message))
      return absl::InvalidArgumentError(absl::StrCat(
          "'", value, "' is no value of ", type.name(), ".", names[i], " (",
          field->type_name(), ")"));
  }
  return absl::OkStatus();
}

absl::StatusOr<ConfigOrigins> LoadConfig(const ConfigSources& sources,
                                         Message* config) {
  ConfigOrigins origins;
  if (!sources.file.empty())
    RETURN_IF_ERROR(MergeFile(sources.file, config, &origins));
  for (const std::string& entry : sources.environment)
    RETURN_IF_ERROR(MergeVariable(entry, config, &origins));
  for (const std::string& text : sources.overrides)
    RETURN_IF_ERROR(MergeOverride(text, config, &origins));
  return origins;
}

std::string PrintConfig(const Message& config, const ConfigOrigins& origins) {
  std::string out;
  PrintFields(config, "", origins, &out);
  return out;
}

}  // namespace cssp
