use super::*;
use std::net::Shutdown;

fn listening() -> (tempfile::TempDir, std::path::PathBuf, thread::JoinHandle<()>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control");
    let control = Control::listen(&path).unwrap();
    let obey = Arc::new(|command: Command| Answer {
        said: match command {
            Command::Full(0) => Err("no\nroom".to_owned()),
            other => Ok(format!("{other:?}")),
        },
        stop: command == Command::Stop,
    });
    let serving = thread::spawn(move || control.serve(&obey).unwrap());
    (folder, path, serving)
}

#[test]
fn every_command_has_its_words() {
    let said = |line: &str| line.parse::<Command>();
    assert_eq!(said("drop"), Ok(Command::PowerCut(Cut::Drop)));
    assert_eq!(said("torn 7"), Ok(Command::PowerCut(Cut::Torn(7))));
    assert_eq!(said("off drop"), Ok(Command::Off(Cut::Drop)));
    assert_eq!(said("off torn 7"), Ok(Command::Off(Cut::Torn(7))));
    assert_eq!(said("on"), Ok(Command::On));
    assert_eq!(said("fail-fsync 2"), Ok(Command::FailSyncs(2)));
    assert_eq!(said("full 4096"), Ok(Command::Full(4096)));
    assert_eq!(said("slow 20"), Ok(Command::Slow(Duration::from_millis(20))));
    assert_eq!(said(" clear "), Ok(Command::Clear));
    assert_eq!(said("stats"), Ok(Command::Stats));
    for wrong in [
        "",
        "drop all",
        "torn",
        "torn -1",
        "torn +1",
        "torn 99999999999999999999",
        "off",
        "off on",
        "fail-fsync x",
        "full 1k",
        "slow 99999999999",
        "DROP",
        "drop\0",
    ] {
        assert_eq!(said(wrong), Err(Malformed), "{wrong:?}");
    }
}

#[test]
fn hostile_lines_are_refused_and_the_next_caller_is_served() {
    let (_folder, path, serving) = listening();
    let answer = |bytes: &[u8]| {
        let mut connection = UnixStream::connect(&path).unwrap();
        // The other side may hang up in the middle of an endless line.
        let _ = connection.write_all(bytes);
        let _ = connection.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = connection.read_to_end(&mut answer);
        String::from_utf8(answer).unwrap()
    };
    assert!(answer(b"\xff\xfe\n").starts_with("error not a command"));
    assert!(answer(b"drop").starts_with("error not a line"));
    assert!(!answer(&b"x".repeat(100_000)).contains("ok"));
    assert_eq!(answer(b""), "");
    assert_eq!(answer(b"full 0\nclear\n"), "error no room\nok Clear\n");
    // More connections than are served: those too many are hung up on, and the rest go on.
    let silent: Vec<_> = (0..CONNECTIONS_MAX)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    drop(silent);
    // A place is free again when its thread has seen the end, which may be later than the answer.
    let begun = std::time::Instant::now();
    let served = |line: &str| loop {
        match ask(&path, line) {
            Err(AskError::Unreachable(_)) if begun.elapsed() < Duration::from_secs(20) => {
                thread::sleep(Duration::from_millis(5));
            }
            answer => return answer,
        }
    };
    served("stats").unwrap();
    assert!(matches!(served("full 0"), Err(AskError::Refused(why)) if why == "no room"));
    assert_eq!(served("stop").unwrap(), "Stop");
    serving.join().unwrap();
    assert_eq!(answer_after_stop(&path), None);
}

/// Whatever is asked after the end, nobody hangs.
fn answer_after_stop(path: &Path) -> Option<String> {
    std::fs::remove_file(path).unwrap();
    ask(path, "stats").ok()
}
