"""ptx_error.py: what is wrong with a PTX file, with the line."""


class PtxError(Exception):
    def __init__(self, line, text):
        super().__init__(text)
        self.line, self.text = line, text
