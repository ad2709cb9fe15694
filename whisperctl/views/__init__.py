"""Values → text, JSON or Markdown. Functions of what was found; nothing here reads, decides or exits."""
