//! Reads the text format of protocol buffers, as far as tests need it.
//!
//! Comes in: the text of a file. Goes out: its fields by name, in their order. Knows no schema: a number stays the word
//! that it was, text is bytes.

/// A message: its fields, in their order.
#[derive(Clone, Debug, Default)]
pub struct Message {
    fields: Vec<(String, Field)>,
}

#[derive(Clone, Debug)]
pub enum Field {
    /// A number, an enum value, `true`, `inf`.
    Word(String),
    Text(Vec<u8>),
    Message(Message),
}

impl Message {
    /// All messages of that name.
    pub fn messages<'m>(&'m self, name: &'m str) -> impl Iterator<Item = &'m Message> {
        self.fields.iter().filter(move |(known, _)| known == name).filter_map(|(_, field)| match field {
            Field::Message(message) => Some(message),
            _ => None,
        })
    }

    pub fn message<'m>(&'m self, name: &'m str) -> Option<&'m Message> {
        self.messages(name).next()
    }

    /// The text of a field; empty where there is none.
    pub fn text(&self, name: &str) -> String {
        match self.field(name) {
            Some(Field::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            Some(Field::Word(word)) => word.clone(),
            _ => String::new(),
        }
    }

    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields.iter().find(|(known, _)| known == name).map(|(_, field)| field)
    }

    pub fn push(&mut self, name: &str, field: Field) {
        self.fields.push((name.to_owned(), field));
    }

    pub fn fields(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.fields.iter().map(|(name, field)| (name.as_str(), field))
    }
}

/// Reads a whole file; panics where it is not what is expected, with the place.
pub fn read(text: &str) -> Message {
    let mut reader = Reader { text: text.as_bytes(), at: 0 };
    let message = reader.message(None);
    assert_eq!(reader.at, text.len(), "the file goes on behind its last field");
    message
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// Skips spaces, comments and separators.
    fn skip(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => {
                    while self.peek().is_some_and(|byte| byte != b'\n') {
                        self.at += 1;
                    }
                }
                byte if byte.is_ascii_whitespace() || byte == b',' || byte == b';' => self.at += 1,
                _ => return,
            }
        }
    }

    fn message(&mut self, end: Option<u8>) -> Message {
        let mut message = Message::default();
        loop {
            self.skip();
            match self.peek() {
                None if end.is_none() => return message,
                Some(byte) if Some(byte) == end => {
                    self.at += 1;
                    return message;
                }
                None => panic!("a message has no end"),
                Some(_) => {}
            }
            let name = self.name();
            self.skip();
            if self.peek() == Some(b':') {
                self.at += 1;
                self.skip();
            }
            self.field(&name, &mut message);
        }
    }

    fn field(&mut self, name: &str, message: &mut Message) {
        let field = match self.peek() {
            Some(b'{') => {
                self.at += 1;
                Field::Message(self.message(Some(b'}')))
            }
            Some(b'[') => {
                self.at += 1;
                self.skip();
                while self.peek() != Some(b']') {
                    self.field(name, message);
                    self.skip();
                }
                self.at += 1;
                return;
            }
            Some(b'"' | b'\'') => Field::Text(self.texts()),
            _ => Field::Word(self.word()),
        };
        message.fields.push((name.to_owned(), field));
    }

    fn name(&mut self) -> String {
        if self.peek() == Some(b'[') {
            let end =
                self.text[self.at..].iter().position(|byte| *byte == b']').expect("a name in brackets ends");
            let name = String::from_utf8_lossy(&self.text[self.at..=self.at + end]).into_owned();
            self.at += end + 1;
            return name;
        }
        self.word()
    }

    fn word(&mut self) -> String {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_alphanumeric() || b"_.+-".contains(&byte)) {
            self.at += 1;
        }
        let line = self.text[..start].iter().filter(|byte| **byte == b'\n').count() + 1;
        assert!(self.at > start, "line {line}: expected a word, found {:?}", self.peek().map(char::from));
        String::from_utf8_lossy(&self.text[start..self.at]).into_owned()
    }

    /// Texts that follow each other are one.
    fn texts(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(quote @ (b'"' | b'\'')) = self.peek() {
            self.at += 1;
            loop {
                let byte = self.peek().expect("a text ends");
                self.at += 1;
                match byte {
                    byte if byte == quote => break,
                    b'\\' => self.escape(&mut all),
                    byte => all.push(byte),
                }
            }
            self.skip();
        }
        all
    }

    fn escape(&mut self, all: &mut Vec<u8>) {
        let byte = self.peek().expect("an escape ends");
        self.at += 1;
        let plain = match byte {
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 11,
            b'x' | b'X' => return all.push(u8::try_from(self.digits(16, 2)).expect("two digits fit")),
            b'u' => return self.char(4, all),
            b'U' => return self.char(8, all),
            b'0'..=b'7' => {
                self.at -= 1;
                return all.push(u8::try_from(self.digits(8, 3) & 255).expect("it is masked"));
            }
            other => other,
        };
        all.push(plain);
    }

    fn char(&mut self, digits: usize, all: &mut Vec<u8>) {
        let char = char::from_u32(self.digits(16, digits)).expect("a character");
        all.extend(char.to_string().bytes());
    }

    fn digits(&mut self, base: u32, most: usize) -> u32 {
        let mut number = 0;
        for _ in 0..most {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(base)) else { break };
            number = number * base + digit;
            self.at += 1;
        }
        number
    }
}
